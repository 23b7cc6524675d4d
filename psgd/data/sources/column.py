"""One column of a table, parsed value by value. The caller adds file and line to the errors."""

import math
import re
from array import array
from collections.abc import Iterable
from contextlib import suppress
from typing import NamedTuple, final

import numpy as np

# Texts for a missing value in files of pandas, R and Excel; compared in lower case, without spaces around the text.
MISSING = {"", "?", "na", "n/a", "<na>", "#na", "#n/a", "#n/a n/a", "nan", "-nan", "null", "none", "1.#ind", "1.#qnan"}
MISSING |= {f"-{text}" for text in ("1.#ind", "1.#qnan")}
# Texts for numbers with a decimal comma, groups of digits, or a currency or percent sign.
OTHER_NOTATION = re.compile(r"[-+(]?\s?[$€£¥]?\s?\d[\d\s.,'_]*\s?[%$€£¥)]?")
AS_IT_STANDS = "not a number as it stands"
LARGEST_NUMBER = float(np.finfo(np.float32).max)  # so that means and deviations are finite in any precision


class Column(NamedTuple):
    """`values` (N,) float64 are the numbers, or indices into `texts`; nan where a value is missing."""

    name: str
    values: np.ndarray
    texts: tuple[str, ...] | None  # the categories; None for a column of numbers

    @property
    def missing(self) -> np.ndarray:
        missing: np.ndarray = np.isnan(self.values)
        return missing


def number(text: str) -> float | None:
    """Parse a number with a decimal point, up to LARGEST_NUMBER. None for any other text; 1_000, as in Python, is
    not accepted."""
    try:
        value = float(text)
    except ValueError:
        return None
    return value if "_" not in text and abs(value) <= LARGEST_NUMBER else None


def comma_number(text: str) -> float | None:
    """Parse a number with a decimal comma. None if there is a point, which might stand between groups of digits."""
    return None if "." in text else number(text.replace(",", "."))


NUMBERS = {"point": number, "comma": comma_number}  # by what stands before the decimals


def _no_number(text: str) -> str:
    """Say why `number` does not take a text."""
    if _too_large(text):
        return f"beyond {LARGEST_NUMBER:.2g}, the largest number of float32"
    return AS_IT_STANDS if OTHER_NOTATION.fullmatch(text) else "not a number"


def _too_large(text: str) -> bool:
    """Whether a text is a number beyond LARGEST_NUMBER, or infinity."""
    with suppress(ValueError):
        return "_" not in text and abs(float(text)) > LARGEST_NUMBER
    return False


@final
class Collector:
    """Collects the values of a column: numbers if `numeric`, categories if not. If it is None, the first value that is
    not missing decides, and a value of the other kind is an error: the column is damaged, or holds categories.
    `labels`: texts that are values, even if they look like a missing one. `decimal`: a key of NUMBERS."""

    def __init__(
        self, name: str, numeric: bool | None, labels: Iterable[int | str] = (), decimal: str = "point"
    ) -> None:
        self.name, self._decimal, self._number = name, decimal, NUMBERS[decimal]
        self._decided, self._numeric = numeric is not None, numeric
        self._missing = MISSING - {str(label).lower() for label in labels}
        self._first = ""  # the value that decided
        self._values = array("d")
        self._codes: dict[str, int] = {}  # category -> its number, in order of appearance

    def add(self, text: str) -> None:
        """Parse and append a value. ValueError describes a wrong one."""
        text = text.strip()
        if text.lower() in self._missing:
            self._values.append(math.nan)
            return
        value = self._number(text)
        if self._numeric is None:
            self._numeric, self._first = value is not None or _too_large(text), text
        if self._numeric and value is not None:
            self._values.append(value)
        elif self._numeric:
            reason = _no_number(text)
            advice = self._plainly(text) if reason == AS_IT_STANDS else self._unlike("numbers")
            raise ValueError(f"{self.name} is {text[:60]!r}, which is {reason}{advice}")
        elif value is not None and not self._decided:
            raise ValueError(f"{self.name} is {text[:60]!r}, a number{self._unlike('no numbers')}")
        elif not self._decided and OTHER_NOTATION.fullmatch(text):
            raise ValueError(
                f"{self.name} is {text[:60]!r}, which is {AS_IT_STANDS}{self._plainly(text)}, or name the column in "
                "data.categorical"
            )
        else:
            self._values.append(self._codes.setdefault(text, len(self._codes)))

    def column(self) -> Column:
        numeric = self._numeric is None or self._numeric
        return Column(self.name, np.array(self._values, np.float64), None if numeric else tuple(self._codes))

    def _plainly(self, text: str) -> str:
        """Say what to do about a number in another notation."""
        advice = f"; write it with digits and a decimal {self._decimal} alone"
        other = "comma" if self._decimal == "point" else "point"
        readable = not self._decided and NUMBERS[other](text) is not None
        return advice + f", or set data.decimal: {other} if that is what it has" * readable

    def _unlike(self, others: str) -> str:
        if self._decided:
            return "; correct the row or remove it"
        above = ""
        if not all(map(math.isnan, self._values)):
            above = f", but the values above it are {others} (the first is {self._first[:60]!r})"
        return f"{above}; correct or remove the row, or name the column in data.categorical"
