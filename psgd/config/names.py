"""The names of all settings, read from the pydantic models, and suggestions for wrong names."""

import difflib
from dataclasses import dataclass
from typing import Literal, final, get_args, get_origin

from psgd.config.settings import Section, Settings

# Names of settings in other trainers and in papers -> names here.
_FOREIGN = {
    "lr": "learning_rate",
    "eta": "learning_rate",
    "weight_decay": "l2",
    "batch": "batch_size_per_worker",
    "layers": "hidden",
    "dataset": "source",
    "num_workers": "workers",
    "tau": "period",
}


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


def rule(section: str | None, choice: str, key: str) -> str:
    """Return the rule for a value, which error messages quote."""
    field = (SECTIONS[section].choices[choice] if section else Settings).model_fields[key]
    if field.description:
        return field.description
    words = _words(field.annotation)
    return f"one of {', '.join(words)}" if len(words) > 1 else words[0]


def _words(annotation: object) -> list[str]:
    if annotation is type(None):
        return ["null"]
    if get_origin(annotation) is Literal:
        return [str(word) for word in get_args(annotation)]
    return [word for part in get_args(annotation) for word in _words(part)]


def unknown(path: tuple[str, ...], choice: str) -> str:
    """Return the message for a path that is no setting; `choice`: the value of its section's tag."""
    if len(path) == 1:
        return f"is not a setting{_hint(path[0], TOP, _homes(path[0], None))}"
    section, key = path[0], path[1]
    names = SECTIONS[section]
    subject = f"is not a setting of {choice or section}"
    if others := names.choices_with(key):
        return f"{subject}, but of {', '.join(others)}; leave it out or change {section}.{names.tag}"
    return subject + _hint(key, names.keys(choice), _homes(key, section))


def suggestion(word: object, words: list[str]) -> str:
    """Return a did-you-mean suggestion for a wrong word, or an empty string."""
    close = difflib.get_close_matches(word, words, 1, 0.5) if isinstance(word, str) else []
    return f"; did you mean {close[0]}?" if close else ""


def _homes(key: str, here: str | None) -> list[str]:
    """Full names of the settings outside of section `here` that are called `key`, or that a foreign `key` means."""
    found = [key] if here and key in TOP else []
    for candidate in (key, _FOREIGN.get(key)):
        found += [
            f"{section}.{candidate}"
            for section, names in SECTIONS.items()
            if section != here and candidate in names.all_keys()
        ]
    return found


def _hint(key: str, here: list[str], elsewhere: list[str]) -> str:
    """Suggest, in this order: the translation of a foreign name, the same name in another section (`elsewhere`), a
    similar name in this section (`here`), a similar name in another section."""
    foreign = _FOREIGN.get(key)
    if foreign in here:
        return f"; did you mean {foreign}?"
    if elsewhere:
        return f"; did you mean {' or '.join(elsewhere)}?"
    if close := difflib.get_close_matches(key, here, 1, 0.4):
        return f"; did you mean {close[0]}?"
    leaves = {leaf: f"{section}.{leaf}" for section, names in SECTIONS.items() for leaf in names.all_keys()}
    close = difflib.get_close_matches(key, leaves, 1, 0.75)
    return f"; did you mean {leaves[close[0]]}?" if close else f"; known are {', '.join(here)}"
