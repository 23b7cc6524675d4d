"""Finds classes and categories that another program has written in another way: pandas makes 1.0 of 1 in a column with
a missing cell, 0.5 of 0.50, and True of TRUE."""

from collections.abc import Sequence
from decimal import Decimal

from psgd.data.sources.column import number


def whole(text: str) -> str:
    """Write a whole number in one way: 1.0 and 1e0 are 1. Digits stay as they are: 007 is a text."""
    value = None if text.isdigit() else number(text)
    if value is None:
        return text
    exact = value if abs(value) < 2**53 else Decimal(text)
    return text if exact != int(exact) else str(int(exact))


def spelling(text: str) -> str:
    """Write numbers and truth values in one way; whole numbers as `whole`."""
    value = number(text)
    if value is None:
        return text.lower() if text.lower() in ("true", "false") else text
    return whole(text) if value == int(value) else str(value)


def codes_of(categories: Sequence[str]) -> dict[str, int]:
    """Return the place of each category, by its text and by those that pandas may make of it."""
    codes = {text: place for place, text in enumerate(categories)}
    for place, category in enumerate(categories):
        value = number(category)
        for text in (spelling(category), category.capitalize() if value is None else str(value)):
            if spelling(text) == spelling(category):
                codes.setdefault(text, place)
    return codes
