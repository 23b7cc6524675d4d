"""Finds categories that another program has written in another way: pandas makes 1.0 of 1 in a column with a missing
cell, 0.5 of 0.50, and True of TRUE."""

from collections.abc import Sequence

from psgd.data.sources.column import number


def spelling(text: str) -> str:
    """Write numbers and truth values in one way. Digits stay as they are: 007 is a text."""
    value = None if text.isdigit() else number(text)
    if value is None:
        return text.lower() if text.lower() in ("true", "false") else text
    return str(int(value)) if value == int(value) else str(value)


def codes_of(categories: Sequence[str]) -> dict[str, int]:
    """Return the place of each category, by its text and by those that pandas may make of it."""
    codes = {text: place for place, text in enumerate(categories)}
    for place, category in enumerate(categories):
        value = number(category)
        for text in (spelling(category), category.capitalize() if value is None else str(value)):
            if spelling(text) == spelling(category):
                codes.setdefault(text, place)
    return codes
