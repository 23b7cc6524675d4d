"""The names of all settings, read from the pydantic models, and suggestions for wrong names."""

import difflib
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal, final, get_args, get_origin

from psgd.config.foreign_names import ABSENT, FOREIGN, SYNONYMS
from psgd.config.settings import Section, Settings


@final
@dataclass(frozen=True)
class SectionNames:
    """The models of one section by the value of its key `tag` ("sgd", "adam"); tag None: one model, named ""."""

    tag: str | None
    default: str
    choices: dict[str, type[Section]]

    def keys(self, choice: str) -> list[str]:
        """The keys of a choice, the tag first."""
        keys = list(self.choices[choice].model_fields)
        return [self.tag, *(key for key in keys if key != self.tag)] if self.tag else keys

    def choices_with(self, key: str) -> list[str]:
        return [choice for choice, model in self.choices.items() if key in model.model_fields]

    def all_keys(self) -> list[str]:
        return list(dict.fromkeys(key for choice in self.choices for key in self.keys(choice)))


def _sections() -> dict[str, SectionNames]:
    result = {}
    for name, field in Settings.model_fields.items():
        if not isinstance(field.default, Section):
            continue
        if field.discriminator is None:
            result[name] = SectionNames(None, "", {"": type(field.default)})
            continue
        tag = str(field.discriminator)
        models = get_args(field.annotation)
        choices = {choice: model for model in models for choice in get_args(model.model_fields[tag].annotation)}
        result[name] = SectionNames(tag, field.default.model_dump()[tag], choices)
    return result


SECTIONS = _sections()
TOP = list(Settings.model_fields)


def inner(section: str, choice: str, key: str) -> type[Section] | None:
    """The model of a setting that is itself a mapping of settings; None of any other."""
    field = SECTIONS[section].choices[choice].model_fields.get(key)
    parts = get_args(field.annotation) if field else ()
    models = [part for part in parts if isinstance(part, type) and issubclass(part, Section)]
    return models[0] if models else None


def rule(path: tuple[str, ...], choice: str) -> str:
    """Return the rule for a value, which error messages quote; `choice`: the value of its section's tag."""
    model: type[Section] | None = SECTIONS[path[0]].choices[choice] if len(path) > 1 else Settings
    if len(path) > 2:
        model = inner(path[0], choice, path[1])
    assert model
    field = model.model_fields[path[-1]]
    if field.description:
        return field.description
    words = _literals(field.annotation)
    return f"one of {', '.join(words)}" if len(words) > 1 else words[0]


def _literals(annotation: object) -> list[str]:
    if annotation is type(None):
        return ["null"]
    if get_origin(annotation) is Literal:
        return [str(word) for word in get_args(annotation)]
    return [word for part in get_args(annotation) for word in _literals(part)]


def is_whole(setting: str) -> bool:
    """Whether a setting, by its full name, can be a number, and only a whole one."""
    section, _, key = setting.rpartition(".")
    models = [names.choices[c] for c in names.choices_with(key)] if (names := SECTIONS.get(section)) else [Settings]
    types = [
        kind for model in models if key in model.model_fields for kind in _types(model.model_fields[key].annotation)
    ]
    return int in types and float not in types


def _types(annotation: object) -> list[object]:
    """The types of which a value may be; not those of the items of a list."""
    parts = () if get_origin(annotation) is list else get_args(annotation)
    return [annotation, *(kind for part in parts for kind in _types(part))]


def value_words() -> dict[str, list[str]]:
    """All settings by full name, each with the words that it may be; none for numbers and free text."""
    found = {key: _literals(Settings.model_fields[key].annotation) for key in TOP if key not in SECTIONS}
    for section, names in SECTIONS.items():
        for key in names.all_keys():
            fields = [names.choices[choice].model_fields[key] for choice in names.choices_with(key)]
            words = dict.fromkeys(word for field in fields for word in _literals(field.annotation))
            found[f"{section}.{key}"] = list(words) if words.keys() - {"null"} else []
    return found


def unknown(path: tuple[str, ...], choice: str) -> str:
    """Return the message for a path that is no setting; `choice`: the value of its section's tag."""
    if len(path) == 1:
        return f"is not a setting{_hint(None, path[0], TOP)}"
    section, key = path[0], path[1]
    if len(path) > 2 and (model := inner(section, choice, key)):
        keys = list(model.model_fields)
        return f"is not a setting of {key}" + (suggestion(path[2], keys) or f"; known are {', '.join(keys)}")
    names = SECTIONS[section]
    subject = f"is not a setting of {choice or section}"
    if others := names.choices_with(key):
        return f"{subject}, but of {', '.join(others)}; leave it out or change {section}.{names.tag}"
    return subject + _hint(section, key, names.keys(choice), choice)


def suggestion(word: object, words: list[str]) -> str:
    """Return a did-you-mean suggestion for a wrong word, or an empty string."""
    if not isinstance(word, str):
        return ""
    meant = SYNONYMS.get(word.lower().replace("_", "-"))
    close = [w for w in meant if w in words] if meant else difflib.get_close_matches(word.lower(), words, 1, 0.5)
    return f"; did you mean {close[0]}?" if close else ""


def unknown_option(option: str, arguments: list[str], known: list[str]) -> str:
    """Return the message for an option such as --workers, one of the command line's `arguments`, that is none of the
    `known` ones."""
    name, equals, value = option.partition("=")
    if not equals:
        value = next((after for before, after in pairwise(arguments) if before == option), "...")
    key = name.lstrip("-").replace("-", "_")
    found = [key] if key in TOP and key not in SECTIONS else homes(None, key)
    if key in ABSENT or not found:
        close = difflib.get_close_matches(name, known, 1, 0.7)
        hint = f"; did you mean {close[0]}?" if close else "; --help lists those that there are"
        return f"{name} is not an option{ABSENT.get(key, hint)}"
    setting, _, choices = found[0].partition(" ")
    return f"{name} is not an option, but a setting{f' {choices}' * bool(choices)}; write {setting}={value}"


def homes(here: str | None, key: str, choice: str = "") -> list[str]:
    """Names of the settings that are called `key` outside of section `here`, or else of the one that a foreign `key`
    means. Those that depend on a `choice`, as momentum on sgd, come with it, and only if there are no others."""
    foreign = FOREIGN.get(key.lower().replace("-", "_"))
    paths = [key] if here and key in TOP else []
    paths += [f"{section}.{key}" for section, names in SECTIONS.items() if section != here and key in names.all_keys()]
    if own := FOREIGN.get(f"{here}.{key}"):
        paths = [own]
    elif foreign and not paths:
        paths = [foreign]
    anywhere, chosen = [], []
    for path in paths:
        section, _, leaf = path.rpartition(".")
        choices = SECTIONS[section].choices_with(leaf) if section else []
        name = leaf if section == here else path
        everywhere = not section or leaf == SECTIONS[section].tag or len(choices) == len(SECTIONS[section].choices)
        if everywhere or (section == here and choice in choices):
            anywhere.append(name)
        else:
            chosen.append(f"{name} (of {', '.join(choices)})")
    return anywhere or chosen


def _hint(section: str | None, key: str, here: list[str], choice: str = "") -> str:
    """Suggest, in this order: what to do if there is nothing of the kind; the same name in another section, or the
    translation of a foreign name; a similar name in this section (`here`), a similar name in another section."""
    if absent := ABSENT.get(key.lower()):
        return absent
    if found := homes(section, key, choice):
        return f"; did you mean {' or '.join(found)}?"
    if close := difflib.get_close_matches(key, here, 1, 0.6):
        return f"; did you mean {close[0]}?"
    leaves = {leaf: f"{section}.{leaf}" for section, names in SECTIONS.items() for leaf in names.all_keys()}
    close = difflib.get_close_matches(key, leaves, 1, 0.75)
    return f"; did you mean {leaves[close[0]]}?" if close else f"; known are {', '.join(here)}"
