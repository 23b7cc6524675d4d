"""Checks each setting with pydantic and translates its errors for the user."""

import json
from typing import Any, NamedTuple

from pydantic import ValidationError

from psgd.config.names import SECTIONS, inner, rule, suggestion, unknown
from psgd.config.settings import Settings

_BOUNDS = {"greater_than", "greater_than_equal", "less_than", "less_than_equal"}


class Problem(NamedTuple):
    """One problem: its message is `path` and then `text`. `others`: further settings that contribute to it."""

    path: tuple[str, ...]
    text: str
    others: tuple[tuple[str, ...], ...] = ()


def shown(value: object) -> str:
    """Format a value for a message: similar to YAML, at most 80 characters."""
    if isinstance(value, int) and abs(value) >= 10**15:
        return "a number that is too large" if value > 0 else "a number that is too small"
    text = json.dumps(value, ensure_ascii=False, default=repr)
    return text if len(text) <= 80 else text[:77] + "..."


def involves(problem: Problem, paths: list[tuple[str, ...]]) -> bool:
    """Whether one of the settings `paths`, or its section, or an item of it, contributes to the problem."""
    return any(a[: len(b)] == b[: len(a)] for a in paths for b in (problem.path, *problem.others))


def check_values(values: dict[str, Any]) -> tuple[Settings, list[Problem]]:
    """Build settings from nested mappings. A setting that is unknown, or of a wrong type or range, is a problem and is
    replaced by its default, so that the rest can still be checked."""
    values = {key: dict(value) if key in SECTIONS else value for key, value in values.items()}
    problems = _fill_tags(values)
    try:
        return Settings.model_validate(values), problems
    except ValidationError as error:
        wrong: dict[tuple[str, ...], dict[str, dict[str, Any]]] = {}  # path -> kinds of errors, and their details
        for item in error.errors(include_url=False):
            wrong.setdefault(_path(item["loc"]), {})[item["type"]] = item.get("ctx", {})
    for path, kinds in wrong.items():
        home = values
        for part in path[:-1]:
            home[part] = home = dict(home[part])  # a copy, as the mapping may be the caller's
        problems.append(Problem(path, _message(path, home.pop(path[-1]), kinds, _choice(values, path[0]))))
    return Settings.model_validate(values), problems


def _fill_tags(values: dict[str, Any]) -> list[Problem]:
    """Set the tag of each section, in place, to the default where it is missing or is not one of the choices."""
    problems = []
    for section, names in SECTIONS.items():
        if not names.tag or section not in values:
            continue
        choice = values[section].setdefault(names.tag, names.default)
        if not isinstance(choice, str) or choice not in names.choices:
            words = list(names.choices)
            text = f"is {shown(choice)}; it must be one of {', '.join(words)}{suggestion(choice, words)}"
            problems.append(Problem((section, names.tag), text))
            # The other settings of this section cannot be checked.
            values[section] = {names.tag: names.default}
    return problems


def _choice(values: dict[str, Any], section: str) -> str:
    tag = SECTIONS[section].tag if section in SECTIONS else None
    return str(values[section][tag]) if tag else ""


def _path(location: tuple[str | int, ...]) -> tuple[str, ...]:
    """Convert a location of pydantic's to the path of a setting: without the choice and positions within a value."""
    section = str(location[0])
    if section not in SECTIONS:
        return (section,)
    choice, *rest = location[1:] if SECTIONS[section].tag else ("", *location[1:])
    depth = 2 if len(rest) > 1 and inner(section, str(choice), str(rest[0])) else 1
    return (section, *map(str, rest[:depth]))


def _message(path: tuple[str, ...], value: object, kinds: dict[str, dict[str, Any]], choice: str) -> str:
    if kinds.keys() == {"extra_forbidden"}:
        return unknown(path, choice)
    must = rule(path, choice)
    if "finite_number" in kinds and isinstance(value, float):
        return f"is {shown(value)}; it must be finite"
    if kinds.keys() <= _BOUNDS and not isinstance(value, list):
        must = must.removeprefix("a whole number ").removeprefix("a number ").removeprefix("of ")
    largest = kinds.get("less_than_equal", {}).get("le", 1)
    if isinstance(largest, int) and largest > 1:  # a limit that the rule leaves out, since hardly anybody meets it
        must = f"at most {largest:,}" if isinstance(value, int) else f"{must}; each at most {largest:,}"
    words = [word.split()[0] for word in must.removeprefix("one of ").split(", ")] if "one of " in must else []
    return f"is {shown(value)}; it must be {must}{suggestion(value, words)}"
