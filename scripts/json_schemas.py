"""JSON Schemas of configs, for editors: made of the pydantic models and the meanings of settings.

They are a little more lenient than psgd itself: 2.0 counts as a whole number, and rules between settings are left out.
"""

from typing import Any

from setting_meanings import MEANINGS

from psgd.config.comparison import OWN_TUNE, Comparison, Space
from psgd.config.comparison_file import COMMON, SAMPLING, STOPPING
from psgd.config.names import SECTIONS, TOP, inner, rule
from psgd.config.settings import Section, Settings

DRAFT = "https://json-schema.org/draft/2020-12/schema"

Schema = dict[str, Any]


def settings_schema() -> Schema:
    """The schema of the config of a job."""
    fields, sections = _properties(Settings), {section: _section(section) for section in SECTIONS}
    others = {key: _described(fields[key], (key,), "") for key in TOP if key not in SECTIONS}
    return {
        "$schema": DRAFT,
        "title": "The config of a psgd job",
        "type": "object",
        "additionalProperties": False,
        "properties": {key: sections.get(key) or others[key] for key in TOP},
    }


def comparison_schema() -> Schema:
    """The schema of the config of a comparison."""
    whole = _inlined(Comparison)
    fields = whole["properties"]
    overrides = {"type": "object", "properties": _overrides(), "additionalProperties": False}
    fields["arms"] = {"type": "object", "minProperties": 1, "maxProperties": 12, "additionalProperties": overrides}
    tune = fields["tune"]["anyOf"][0]
    short = {
        "type": "object",
        "properties": {key: tune["properties"][key] for key in ("for_each", "seeds")},
        "patternProperties": {r"\.": _inlined(Space)},  # the setting, whose name has a point
        "additionalProperties": False,
    }
    fields["tune"] = {"anyOf": [short, tune, {"type": "null"}]}
    return {"$schema": DRAFT, "title": "The config of a comparison by psgd", **whole}


def _overrides() -> Schema:
    """Full names of the settings that an arm may have, and whole sections."""
    found: Schema = {section: {"type": "object"} for section in SECTIONS} | {OWN_TUNE: {"type": "object"}}
    for key, meaning in MEANINGS.items():
        other_data = key.startswith("data.") and key != SAMPLING
        if key not in found and key not in COMMON and not key.startswith(STOPPING) and not other_data:
            found[key] = {"description": meaning.text}
    return found


def _section(section: str) -> Schema:
    """One object for each of its models. The name that tells them apart is required but for the default."""
    names, objects = SECTIONS[section], []
    for model in dict.fromkeys(names.choices.values()):
        choices = [choice for choice, its_model in names.choices.items() if its_model is model]
        fields = _properties(model)
        properties = {key: _described(fields[key], (section, key), choices[0]) for key in names.keys(choices[0])}
        required = [names.tag] if names.tag and names.default not in choices else []
        objects.append(_object(properties, required))
    text = MEANINGS[section].text
    return {"description": text, "anyOf": [*objects, {"type": "null"}]}  # null: nothing stands below its name


def _described(field: Schema, path: tuple[str, ...], choice: str) -> Schema:
    """The schema of a setting, with its meaning."""
    if len(path) == 2 and (model := inner(path[0], choice, path[1])):
        fields = _properties(model)
        properties = {key: _described(fields[key], (*path, key), choice) for key in fields}
        field = {**field, "anyOf": [_object(properties, []), {"type": "null"}]}
    meaning = MEANINGS[".".join(path)]
    unit = f" Unit: {meaning.unit}." if meaning.unit else ""
    return {"description": f"{meaning.text}{unit} Values: {rule(path, choice)}.", **field}


def _object(properties: Schema, required: list[str]) -> Schema:
    whole = {"type": "object", "properties": properties, "additionalProperties": False}
    return {**whole, "required": required} if required else whole


def _properties(model: type[Section]) -> Schema:
    properties: Schema = _inlined(model)["properties"]
    return properties


def _inlined(model: type[Section]) -> Schema:
    """pydantic's schema of a model, without references, and without its titles and descriptions."""
    schema = model.model_json_schema()
    definitions = schema.pop("$defs", {})

    def clean(part: Any, names: bool = False) -> Any:
        """`names`: the keys of `part` are names, not words of JSON Schema."""
        if isinstance(part, list):
            return [clean(each) for each in part]
        if not isinstance(part, dict):
            return part
        if "$ref" in part:
            part = {**definitions[part["$ref"].rpartition("/")[2]], **{k: v for k, v in part.items() if k != "$ref"}}
        named = ("properties", "patternProperties")
        left_out = () if names else ("title", "description", "discriminator")
        return {k: clean(v, k in named) for k, v in part.items() if k not in left_out}

    cleaned: Schema = clean(schema)
    return cleaned
