"""Reading CSV files: a header row, quoted fields, UTF-8 with or without a byte order mark. Errors name the line."""

import csv
import difflib
from array import array
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from psgd.core.errors import DataError
from psgd.data.sources.column import Collector, Column

SEPARATORS = {"comma": ",", "semicolon": ";", "tab": "\t"}


class Table(NamedTuple):
    path: Path
    columns: dict[str, Column]  # by name
    lines: np.ndarray  # (N,) the line of the file on which each row begins


def read_header(path: Path, separator: str) -> list[str]:
    """Return the names of the columns. DataError if one is empty or occurs twice, or if there is no header."""
    for line, fields in _rows(path, separator):
        names = [field.strip() for field in fields]
        for place, name in enumerate(names):
            if not name:
                raise DataError(f"{path}:{line}: column {place + 1} of the header has no name; give it one")
            if name in names[:place]:
                raise DataError(f"{path}:{line}: two columns are named {name!r}; rename one")
        return names
    raise DataError(f"{path}: empty; expected a header row that names the columns, and then a row for each example")


def read_table(path: Path, separator: str, collectors: Sequence[Collector]) -> Table:
    """Read the columns of `collectors`. DataError names the line of the first bad row."""
    header = read_header(path, separator)
    places = [_place(path, header, collector.name) for collector in collectors]
    lines = array("q")
    rows = _rows(path, separator)
    next(rows)
    for line, fields in rows:
        if len(fields) != len(header):
            raise DataError(
                f"{path}:{line}: {len(fields)} fields, but the header has {len(header)}; correct the row "
                f"(a field that contains the separator, a {separator}, must be quoted)"
            )
        lines.append(line)
        for place, collector in zip(places, collectors, strict=True):
            try:
                collector.add(fields[place])
            except ValueError as error:
                raise DataError(f"{path}:{line}: {error}") from None
    if not lines:
        raise DataError(f"{path}: a header, but no rows")
    return Table(path, {c.name: c.column() for c in collectors}, np.array(lines, np.int64))


def _place(path: Path, header: list[str], name: str) -> int:
    if name in header:
        return header.index(name)
    close = difflib.get_close_matches(name, header, 1)
    hint = f"did you mean {close[0]}?" if close else f"its columns are {', '.join(header)}"
    raise DataError(f"{path}: no column {name!r}; {hint}")


def _rows(path: Path, separator: str) -> Iterator[tuple[int, list[str]]]:
    """Yield (first line, fields) of each row that is not blank."""
    try:
        with open(path, encoding="utf-8-sig", newline="") as file:
            reader = csv.reader(file, delimiter=SEPARATORS[separator], strict=True)
            line = 1
            try:
                for fields in reader:
                    if fields:
                        yield line, fields
                    line = reader.line_num + 1
            except csv.Error as error:
                raise DataError(f"{path}:{line}: not a row of a CSV file: {error}; correct the row") from None
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise DataError(f"{path}:{_undecodable(path)}: not UTF-8 text; save the file as UTF-8") from None


def _undecodable(path: Path) -> int:
    """Return the first line that is not UTF-8. The reader decodes several lines at a time and cannot tell."""
    with open(path, "rb") as file:
        for line, content in enumerate(file, 1):
            try:
                content.decode()
            except UnicodeDecodeError:
                return line
    return 1
