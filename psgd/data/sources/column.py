"""One column of a table, collected value by value from text. Knows no file: the caller says where a bad value is."""

import math
from array import array
from typing import NamedTuple, final

import numpy as np

MISSING = ("", "na", "n/a", "nan", "null", "?")  # in any case, spaces around it do not count
LARGEST = 1e100  # squares and sums of smaller ones stay finite


class Column(NamedTuple):
    """`values` (N,) float64: numbers, or places in `texts`; nan where missing."""

    name: str
    values: np.ndarray
    texts: tuple[str, ...] | None  # None: numbers

    @property
    def missing(self) -> np.ndarray:
        missing: np.ndarray = np.isnan(self.values)
        return missing


def number(text: str) -> float | None:
    """What a text means as a number, None if it is none. Python's own 1_000 and inf are not numbers in a table."""
    try:
        value = float(text)
    except ValueError:
        return None
    return value if "_" not in text and abs(value) <= LARGEST else None


@final
class Collector:
    """`numeric` None: the first value that is not missing decides whether these are numbers or categories, and a later
    one of the other sort is an error: such a column is either damaged or meant as categories."""

    def __init__(self, name: str, numeric: bool | None) -> None:
        self.name = name
        self._decided, self._numeric = numeric is not None, numeric
        self._first = ""
        self._values = array("d")
        self._codes: dict[str, int] = {}

    def add(self, text: str) -> None:
        """ValueError says what is wrong with the value."""
        text = text.strip()
        if text.lower() in MISSING:
            self._values.append(math.nan)
            return
        value = number(text)
        if self._numeric is None:
            self._numeric, self._first = value is not None, text
        if self._numeric and value is not None:
            self._values.append(value)
        elif self._numeric:
            raise ValueError(f"{self.name} is {text[:60]!r}, which is not a number{self._unlike('numbers')}")
        elif value is not None and not self._decided:
            raise ValueError(f"{self.name} is {text[:60]!r}, a number{self._unlike('no numbers')}")
        else:
            self._values.append(self._codes.setdefault(text, len(self._codes)))

    def column(self) -> Column:
        numeric = self._numeric is None or self._numeric
        return Column(self.name, np.array(self._values, np.float64), None if numeric else tuple(self._codes))

    def _unlike(self, others: str) -> str:
        if self._decided:
            return "; correct the row or remove it"
        return (
            f", but the values above it are {others} (the first is {self._first[:60]!r}); correct or remove the row, "
            "or name the column in data.categorical"
        )
