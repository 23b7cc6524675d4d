"""Reads `key.path=value` arguments and applies them to the settings of a file."""

import sys
from collections.abc import Mapping
from typing import Any, NamedTuple

from psgd.config.document import NotYaml, is_text, parse_yaml
from psgd.config.names import SECTIONS, unknown
from psgd.config.shipped import configs
from psgd.config.value_checks import Problem, shown


class Override(NamedTuple):
    path: tuple[str, ...]
    value: object


class Merged(NamedTuple):
    """Settings after overriding; problems of the file; notes for the user on settings of the file that were dropped."""

    values: dict[str, Any]
    problems: list[Problem]
    notes: list[str]


def _what_else(argument: str) -> str:
    """What an argument that is no override may be meant to be, as the end of a sentence."""
    if argument == "=":
        return "; write it without spaces"
    is_config = argument in configs(comparisons=False) or argument.endswith((".yaml", ".yml"))
    return "; there is one config, and it comes before all settings" * is_config


def read_overrides(arguments: list[str]) -> tuple[list[Override], list[str]]:
    """Parse arguments to overrides, in order; also returns messages about arguments that cannot be parsed."""
    overrides, problems = [], []
    for argument in arguments:
        if not is_text(argument):
            encoding = sys.getfilesystemencoding()
            problems.append(
                f"{argument!r} is not text in this locale's encoding, {encoding}; set LC_ALL=C.UTF-8 or rename"
            )
            continue
        key, equals, text = argument.partition("=")
        path = tuple(part.strip() for part in key.split("."))
        if not equals or not all(path):
            form = "is not of the form key.path=value, such as training.epochs=5"
            problems.append(f"{argument!r} {form}{_what_else(argument)}")
            continue
        try:
            value = parse_yaml(text)
        except NotYaml as error:
            problems.extend(f"{argument!r}: {what}" for _, what in error.problems)
            continue
        if path[0] in SECTIONS and len(path) == 1 and isinstance(value, dict):
            overrides += [Override((path[0], part), item) for part, item in value.items()]
        else:
            overrides.append(Override(path, value))
    return overrides, problems


def named_overrides(named: Mapping[str, Any]) -> tuple[list[Override], list[str]]:
    """Make overrides of Python's keyword arguments, whose names are sections, or settings with a dot or two underscores
    (training__epochs); also returns messages about names that are neither."""
    overrides, problems = [], []
    for name, value in named.items():
        path = tuple(name.replace("__", ".").split("."))
        if not all(path):
            problems.append(f"{name!r} is no name of a setting, such as training.epochs or training__epochs")
        elif path[0] in SECTIONS and len(path) == 1 and isinstance(value, dict):
            overrides += [Override((name, key), item) for key, item in value.items()]
        else:
            overrides.append(Override(path, value))
    return overrides, problems


def merge(document: dict[str, Any], overrides: list[Override], origin: str, by: str = "the command line") -> Merged:
    """Apply overrides to the settings of a file; a later override of the same setting wins. Every section of the result
    is a mapping; one that was not becomes a problem. `origin`, `by`: in messages, where the two came from."""
    values: dict[str, Any] = {}
    problems, notes = [], []
    for key, value in document.items():
        if key in SECTIONS and not isinstance(value, dict | None):  # `data:` with nothing below it is an empty section
            problems.append(_not_a_mapping(key, value))
            value = None
        values[key] = dict(value or {}) if key in SECTIONS else value
    for section, names in SECTIONS.items():
        chosen = [value for path, value in overrides if path == (section, names.tag)]
        if chosen and isinstance(chosen[-1], str) and chosen[-1] in names.choices:
            replaced = {path[1] for path, _ in overrides if len(path) > 1 and path[0] == section}
            result = _change(values.get(section, {}), section, chosen[-1], origin, by, replaced)
            values[section] = result.values
            problems += result.problems
            notes += result.notes
    for override in overrides:
        if len(override.path) == 1 and override.path[0] in SECTIONS:
            problems.append(_not_a_mapping(override.path[0], override.value))
        else:
            _put(values, override)
    return Merged(values, problems, notes)


def _not_a_mapping(section: str, value: object) -> Problem:
    tag = SECTIONS[section].tag
    key = tag if tag and isinstance(value, str) else SECTIONS[section].keys(SECTIONS[section].default)[0]
    return Problem((section,), f"is {shown(value)}; it must be a mapping of settings; did you mean {section}.{key}?")


def _change(given: dict[str, Any], section: str, new: str, origin: str, by: str, replaced: set[str]) -> Merged:
    """Change a section of the file, `given`, to the choice `new` of the overrides (such as another optimizer) and drop
    settings that `new` does not have. `replaced`: keys that the overrides set anyway."""
    names = SECTIONS[section]
    old = given.get(names.tag or "", names.default)
    old = old if isinstance(old, str) and old in names.choices else None
    kept = {}
    problems, notes = [], []
    for key, value in given.items():
        field = names.choices[new].model_fields.get(key)
        if key in replaced or old == new or not names.choices_with(key):
            kept[key] = value
        elif old is not None and key not in names.keys(old):
            problems.append(Problem((section, key), unknown((section, key), old)))
        elif field is None or (value is not None and field.annotation is type(None)):  # some keys accept null alone
            notes.append(
                f"{section}.{key}: {shown(value)} of {origin} was left out: "
                f"{new}, which {by} chose, has no such setting"
            )
        else:
            kept[key] = value
            if old is not None and field.default != names.choices[old].model_fields[key].default:
                notes.append(
                    f"{section}.{key}: {shown(value)} of {origin}, meant for {old}, was kept for {new} "
                    f"(whose default is {shown(field.default)})"
                )
    return Merged(kept, problems, notes)


def _put(values: dict[str, Any], override: Override) -> None:
    home = values
    for part in override.path[:-1]:
        inner = home.get(part)
        home[part] = home = dict(inner) if isinstance(inner, dict) else {}
    home[override.path[-1]] = override.value
