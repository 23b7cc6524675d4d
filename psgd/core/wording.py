"""Numbers of things, sizes and lists of names, as messages say them."""

from collections.abc import Sequence

NAMES_SHOWN = 20  # of a list; raised, messages about data with many classes grow


def counted(count: int, noun: str) -> str:
    """Return the number, with commas between thousands, and the noun, with an s unless there is one of it."""
    return f"{count:,} {noun}{'s' * (count != 1)}"


def data_size(amount: float) -> str:
    """Return a number of bytes in the largest unit that it reaches, as 1.5 GB; units are powers of 1000."""
    for unit in ("bytes", "kB", "MB", "GB"):
        if amount < 999.5:  # or it would be rounded to 1e+03
            return f"{amount:.3g} {unit}"
        amount /= 1000
    return f"{amount:.3g} TB" if amount < 999.5 else f"{amount:,.0f} TB"


def first_names(names: Sequence[object]) -> str:
    """Return the names with commas between them, of many the first NAMES_SHOWN."""
    return ", ".join(map(str, names[:NAMES_SHOWN])) + (", ..." if len(names) > NAMES_SHOWN else "")
