"""What is wrong with the settings, in psgd's words: values are checked by the schema, its errors are said here."""

import json
from typing import Any, NamedTuple

from pydantic import ValidationError

from psgd.config.names import SECTIONS, meant, rule, unknown
from psgd.config.settings import Settings

_BOUNDS = {"greater_than", "greater_than_equal", "less_than", "less_than_equal"}


class Problem(NamedTuple):
    """`text` follows the path in the message; `others` are further settings that take part in it."""

    path: tuple[str, ...]
    text: str
    others: tuple[tuple[str, ...], ...] = ()


def shown(value: object) -> str:
    """A value as a message quotes it: close to YAML, and short."""
    if isinstance(value, int) and abs(value) >= 10**15:
        return "a number that is too large" if value > 0 else "a number that is too small"
    text = json.dumps(value, ensure_ascii=False, default=repr)
    return text if len(text) <= 80 else text[:77] + "..."


def related(one: tuple[str, ...], other: tuple[str, ...]) -> bool:
    """Whether one path lies within the other."""
    length = min(len(one), len(other))
    return one[:length] == other[:length]


def check_values(values: dict[str, Any]) -> tuple[Settings, list[Problem]]:
    """The settings, and a problem for each that is unknown or of a wrong type or range; the settings then have defaults
    in those places, so that the other settings can still be checked against each other. Sections must be mappings."""
    values = {key: dict(value) if key in SECTIONS else value for key, value in values.items()}
    problems = _fill_tags(values)
    try:
        return Settings.model_validate(values), problems
    except ValidationError as error:
        wrong: dict[tuple[str, ...], set[str]] = {}
        for item in error.errors(include_url=False, include_context=False):
            wrong.setdefault(_path(item["loc"]), set()).add(item["type"])
    for path, kinds in wrong.items():
        home = values if len(path) == 1 else values[path[0]]
        problems.append(Problem(path, _said(path, home.pop(path[-1]), kinds, _choice(values, path[0]))))
    return Settings.model_validate(values), problems


def _fill_tags(values: dict[str, Any]) -> list[Problem]:
    """Every section that offers a choice gets its default choice where none, or none that exists, is made."""
    problems = []
    for section, names in SECTIONS.items():
        if not names.tag or section not in values:
            continue
        choice = values[section].setdefault(names.tag, names.default)
        if not isinstance(choice, str) or choice not in names.choices:
            words = list(names.choices)
            text = f"is {shown(choice)}; it must be one of {', '.join(words)}{meant(choice, words)}"
            problems.append(Problem((section, names.tag), text))
            # What else stands in this section cannot be judged.
            values[section] = {names.tag: names.default}
    return problems


def _choice(values: dict[str, Any], section: str) -> str:
    tag = SECTIONS[section].tag if section in SECTIONS else None
    return str(values[section][tag]) if tag else ""


def _path(location: tuple[str | int, ...]) -> tuple[str, ...]:
    """The setting's path: without the tag that pydantic inserts, and without what lies within the setting's value."""
    section = str(location[0])
    if section not in SECTIONS:
        return (section,)
    return (section, str(location[2 if SECTIONS[section].tag else 1]))


def _said(path: tuple[str, ...], value: object, kinds: set[str], choice: str) -> str:
    if kinds == {"extra_forbidden"}:
        return unknown(path, choice)
    must = rule(path[0] if len(path) > 1 else None, choice, path[-1])
    if "finite_number" in kinds and isinstance(value, float):
        return f"is {shown(value)}; it must be finite"
    if kinds <= _BOUNDS and not isinstance(value, list):
        must = must.removeprefix("a whole number ").removeprefix("a number ").removeprefix("of ")
    words = must.removeprefix("one of ").split(", ") if must.startswith("one of ") else []
    return f"is {shown(value)}; it must be {must}{meant(value, words)}"
