"""Reading CSV files, compressed or not: a header row, quoted fields, UTF-8 with or without a byte order mark. Errors
name the line."""

import csv
import difflib
import io
from array import array
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from psgd.core.errors import DataError
from psgd.core.wording import first_names
from psgd.data.sources.column import Collector, Column, number
from psgd.data.sources.compressed import open_unpacked

SEPARATORS = {"comma": ",", "semicolon": ";", "tab": "\t", "spaces": " "}  # spaces: any number of them, and tabs


class Table(NamedTuple):
    path: Path
    columns: dict[str, Column]  # by name
    lines: np.ndarray  # (N,) the line of the file on which each row begins


def read_header(path: Path, separator: str) -> list[str]:
    """Return the names of the columns; that of row numbers, as pandas and R write them, is empty. DataError if two have
    one name, or if there is no header."""
    for line, fields in _rows(path, separator):
        names = [field.strip() for field in fields]
        before: set[str] = set()
        for name in names:
            value = number(name)
            if value is not None and (value != int(value) or name in before):
                what = f"the header has the number {name} as a name of a column, as if it were a row of data"
                raise DataError(f"{path}:{line}: {what}; the first row must name the columns: add such a header")
            if name in before:
                what = f"two columns are named {name!r}" if name else "two columns of the header have no name"
                raise DataError(f"{path}:{line}: {what}; rename one")
            before.add(name)
        return names
    raise DataError(f"{path}: empty; expected a header row that names the columns, and then a row for each example")


def read_table(path: Path, separator: str, collectors: Sequence[Collector]) -> Table:
    """Read the columns of `collectors`. DataError names the line of the first bad row."""
    header = read_header(path, separator)
    by_name = {name: place for place, name in enumerate(header)}
    for collector in collectors:
        if collector.name not in by_name:
            raise _absent(path, header, collector.name, separator)
    places = [by_name[collector.name] for collector in collectors]
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


def _absent(path: Path, header: list[str], name: str, separator: str) -> DataError:
    """Return the error of a column that is not in the header."""
    close = difflib.get_close_matches(name, header, 1)
    hint = f"did you mean {close[0]}?" if close else f"its columns are {first_names(header)}"
    if apparent := _apparent_separator(header, separator, name):
        hint = f"the header seems to be separated by {apparent}: separate it by {separator}, or to train on it "
        hint += f"set data.separator: {apparent}"
    elif any(number(other) is not None for other in header):
        hint += "; the first row of the file must be a header, which names the columns"
    return DataError(f"{path}: no column {name!r}; {hint}")


def _apparent_separator(header: list[str], separator: str, wanted: str) -> str | None:
    """The name of another separator, by which the header has a column `wanted`, or which is within its only name. A
    title above the header has spaces, too."""
    line = SEPARATORS[separator].join(header)
    for name, character in SEPARATORS.items():
        names = line.split() if name == "spaces" else line.split(character)
        if name != separator and wanted in [part.strip(' "') for part in names]:
            return name
    return next((name for name in ("comma", "semicolon", "tab") if len(header) == 1 and SEPARATORS[name] in line), None)


def _rows(path: Path, separator: str) -> Iterator[tuple[int, list[str]]]:
    """Yield (first line, fields) of each row that is not blank."""
    try:
        with open_unpacked(path) as binary:
            file = io.TextIOWrapper(binary, encoding="utf-8-sig", newline="")
            lines = (line.strip().replace("\t", " ") + "\n" for line in file) if separator == "spaces" else file
            # Spaces after a separator, as in aligned columns, come before the quote of a quoted field.
            reader = csv.reader(lines, delimiter=SEPARATORS[separator], strict=True, skipinitialspace=True)
            line = 1
            try:
                for fields in reader:
                    if len(fields) > 1 or any(field.strip() for field in fields):
                        yield line, fields
                    line = reader.line_num + 1
            except csv.Error as error:
                advice = f"correct the row, or data.separator, which is {separator}"
                raise DataError(f"{path}:{line}: not a row of a CSV file: {error}; {advice}") from None
    except UnicodeDecodeError:
        raise DataError(f"{path}:{_undecodable(path)}: not UTF-8 text; save the file as UTF-8") from None


def _undecodable(path: Path) -> int:
    """Return the first line that is not UTF-8. The reader decodes several lines at a time and cannot tell."""
    with open_unpacked(path) as file:
        for line, content in enumerate(file, 1):
            try:
                content.decode()
            except UnicodeDecodeError:
                return line
    return 1
