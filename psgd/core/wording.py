"""Numbers of things and lists of names, as messages say them."""

from collections.abc import Sequence

NAMES_SHOWN = 20  # of a list; raised, messages about data with many classes grow


def counted(count: int, noun: str) -> str:
    """Return the number, with commas between thousands, and the noun, with an s unless there is one of it."""
    return f"{count:,} {noun}{'s' * (count != 1)}"


def first_names(names: Sequence[object]) -> str:
    """Return the names with commas between them, of many the first NAMES_SHOWN."""
    return ", ".join(map(str, names[:NAMES_SHOWN])) + (", ..." if len(names) > NAMES_SHOWN else "")
