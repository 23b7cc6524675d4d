"""libsvm (svmlight) text, gzipped or not: `LABEL INDEX:VALUE ...` a line. It stays sparse, in memory and while read.

Comments (# to the line's end) and empty lines are skipped, qid:N is ignored. Indices of a line ascend.
"""

import gzip
import re
import zlib
from array import array
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO, NamedTuple, cast, final

import numpy as np

from psgd.config.settings import Libsvm
from psgd.core.errors import DataError, UsageError
from psgd.data.sparse import SparseDataset

CHUNK = 1 << 20  # bytes of whole lines read at a time
_LARGEST = 2**31 - 2  # an index; they are kept as int32
_NUMBER = rb"[+-]?(?:\d++\.?+\d*+|\.\d++)(?:[eE][+-]?\d++)?+"
_LINE = re.compile(
    rb"[ \t]*+(?:(" + _NUMBER + rb")(?:[ \t]++qid:\d++)?+((?:[ \t]++\d++:" + _NUMBER + rb")*+)[ \t]*+)?+"
    rb"(?:#[^\n]*+)?+\r?+\n?+"
)


class Loaded(NamedTuple):
    train: SparseDataset
    test: SparseDataset | None
    labels: list[int]  # in the order of the classes; none in regression


def load_libsvm(path: Path, test_path: Path | None, settings: Libsvm) -> Loaded:
    """The file's examples; the test part is the other file's, or what follows the first `train_rows` examples.

    DataError names file and line of what is bad; UsageError if nothing is left to test on.
    """
    table = _read(path, settings, None)
    labels = None if settings.task == "regression" else _learn_labels(path, table)
    other = _read(test_path, settings, labels) if test_path else None
    largest = max(table.largest, other.largest if other else 0)
    features = settings.features or max(1, largest + 1)
    whole = _dataset(table, labels, features)
    train_rows = settings.train_rows
    if train_rows and train_rows >= len(whole):
        raise UsageError(f"data.train_rows is {train_rows}, but {path} has {len(whole)} examples; leave some to test")
    names = [int(label) for label in labels] if labels is not None else []
    if train_rows:
        return Loaded(whole.take(slice(0, train_rows)), whole.take(slice(train_rows, None)), names)
    return Loaded(whole, _dataset(other, labels, features) if other else None, names)


class _Table(NamedTuple):
    indptr: np.ndarray
    indices: np.ndarray
    values: np.ndarray | None
    labels: np.ndarray  # (N,) float64, as written
    largest: int  # index; -1 if there is none


def _dataset(table: _Table, labels: np.ndarray | None, features: int) -> SparseDataset:
    targets = table.labels[:, None].astype(np.float32) if labels is None else np.searchsorted(labels, table.labels)
    classes = 0 if labels is None else len(labels)
    return SparseDataset(table.indptr, table.indices, table.values, targets, classes, features)


def _learn_labels(path: Path, table: _Table) -> np.ndarray:
    """Those that occur, ascending: -1 becomes 0 and 1 stays 1."""
    labels = np.unique(table.labels)
    if len(labels) < 2:
        raise DataError(f"{path}: all labels are {labels[0]:g}; classification needs two classes at least")
    return labels


def _read(path: Path, settings: Libsvm, labels: np.ndarray | None) -> _Table:
    """`labels`: the only ones allowed, if given."""
    growing = _Growing(path, settings, labels)
    line = 1
    try:
        with _open(path) as file:
            while lines := file.readlines(CHUNK):
                growing.add(lines, line)
                line += len(lines)
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise DataError(f"{path}: its gzip data are truncated or corrupt ({error}); replace it") from None
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror or error}") from None
    return growing.table()


def _open(path: Path) -> IO[bytes]:
    with open(path, "rb") as file:
        packed = file.read(2) == b"\x1f\x8b"
    return cast(IO[bytes], gzip.open(path, "rb")) if packed else open(path, "rb")


@final
class _Growing:
    """Rows so far, in arrays that grow in place: reading takes little more memory than the data."""

    def __init__(self, path: Path, settings: Libsvm, labels: np.ndarray | None) -> None:
        self._path, self._settings, self._allowed = path, settings, labels
        self._limit = min(_LARGEST, settings.features - 1 if settings.features else _LARGEST)
        self._indptr, self._labels = array("q", [0]), array("d")
        self._indices = array("i")
        self._values: array[float] | None = None  # all are 1 so far

    def add(self, lines: Sequence[bytes], first: int) -> None:
        """Lines of the file, the first of them its `first`."""
        numbers, labels, pairs = [], [], []
        for number, line, match in self._matches(lines, first):
            if match is None:
                raise DataError(f"{self._path}:{number}: {_fault(line)}")
            if match[1] is not None:
                numbers.append(number)
                labels.append(float(match[1]))
                pairs.append(match[2])
        if not labels:
            return
        self._add_labels(np.array(labels), numbers)
        counts = np.array([pair.count(b":") for pair in pairs])
        self._add_entries(b"".join(pairs), counts, np.array(numbers))

    def table(self) -> _Table:
        if not self._labels:
            raise DataError(f"{self._path}: no examples; expected lines such as '1 3:0.5 7:1'")
        indices = np.frombuffer(self._indices, np.int32)
        values = None if self._values is None else np.frombuffer(self._values, np.float32)
        largest = int(indices.max()) if len(indices) else -1
        return _Table(np.frombuffer(self._indptr, np.int64), indices, values, np.frombuffer(self._labels), largest)

    def _matches(self, lines: Sequence[bytes], first: int) -> Iterator[tuple[int, bytes, re.Match[bytes] | None]]:
        for number, line in enumerate(lines, first):
            yield number, line, _LINE.fullmatch(line)

    def _add_labels(self, labels: np.ndarray, numbers: Sequence[int]) -> None:
        if self._settings.task == "classification":
            wrong = np.flatnonzero((labels != np.rint(labels)) | ~np.isfinite(labels))
            if len(wrong):
                self._refuse(
                    numbers[wrong[0]],
                    f"the label {labels[wrong[0]]:g} is not a whole number; set data.task: regression to learn numbers",
                )
        else:
            wrong = np.flatnonzero(np.abs(labels) > np.finfo(np.float32).max)
            if len(wrong):
                self._refuse(numbers[wrong[0]], f"the label {labels[wrong[0]]:g} is too large for float32; scale it")
        if self._allowed is not None:
            wrong = np.flatnonzero(~np.isin(labels, self._allowed))
            if len(wrong):
                names = ", ".join(f"{label:g}" for label in self._allowed[:20])
                self._refuse(
                    numbers[wrong[0]],
                    f"the label {labels[wrong[0]]:g} is none of those trained on ({names}); correct or remove the line",
                )
        self._labels.frombytes(labels.tobytes())

    def _add_entries(self, text: bytes, counts: np.ndarray, numbers: np.ndarray) -> None:
        """`text`: index:value pairs of rows with so many each."""
        text = text.replace(b":", b" ").strip()  # of spaces alone, NumPy makes a number
        entries = np.fromstring(text, np.float64, sep=" ")
        indices, values = entries[0::2], entries[1::2]
        stops = np.cumsum(counts)
        row = np.repeat(np.arange(len(counts)), counts)
        if not self._settings.zero_based:
            self._check(indices < 1, numbers[row], indices, "the index {} of indices from 1; set data.zero_based: true")
            indices = indices - 1
        what = "{} is beyond the largest index allowed, " + f"{self._limit + (not self._settings.zero_based)}"
        what += "; raise data.features" if self._settings.features else ""
        self._check(indices > self._limit, numbers[row], entries[0::2], what)
        falls = np.zeros(len(indices), bool)
        falls[1:] = (indices[1:] <= indices[:-1]) & (row[1:] == row[:-1])
        self._check(falls, numbers[row], entries[0::2], "the index {} does not come after the one before it; sort them")
        if self._settings.unit_length:
            norms = np.sqrt(np.bincount(row, values * values, len(counts)))
            norms[norms == 0] = 1.0
            values = values / norms[row]
        large = np.abs(values) > np.finfo(np.float32).max
        self._check(large, numbers[row], values, "the value {} is too large for float32; scale the data")
        narrow = values.astype(np.float32)
        if self._values is None and (narrow != 1.0).any():
            self._values = array("f", [1.0]) * len(self._indices)
        if self._values is not None:
            self._values.frombytes(narrow.tobytes())
        self._indptr.frombytes((stops + self._indptr[-1]).astype(np.int64).tobytes())
        self._indices.frombytes(indices.astype(np.int32).tobytes())

    def _check(self, wrong: np.ndarray, numbers: np.ndarray, shown: np.ndarray, what: str) -> None:
        if wrong.any():
            place = int(np.argmax(wrong))
            self._refuse(int(numbers[place]), what.format(f"{shown[place]:.15g}"))

    def _refuse(self, number: int, what: str) -> None:
        raise DataError(f"{self._path}:{number}: {what}")


def _fault(line: bytes) -> str:
    """Why a line is no example."""
    words = line.split(b"#")[0].split()
    number = re.compile(_NUMBER)
    if not words or not number.fullmatch(words[0]):
        shown = words[0][:40].decode(errors="replace") if words else ""
        return f"the label {shown!r} is not a number; expected LABEL INDEX:VALUE ..."
    for word in words[1:]:
        index, _, value = word.partition(b":")
        if not (index.isdigit() and number.fullmatch(value)):
            return f"{word[:40].decode(errors='replace')!r} is not INDEX:VALUE, a whole number and a finite number"
    return "expected LABEL INDEX:VALUE ..., separated by spaces"
