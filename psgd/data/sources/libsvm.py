"""Reading libsvm (svmlight) text, compressed or not: lines `LABEL INDEX:VALUE ...`, with ascending indices.

Comments (# to the end of the line) and empty lines are skipped, and qid:N is ignored. The data stay sparse.
"""

import codecs
import re
from array import array
from collections.abc import Sequence
from pathlib import Path
from typing import final

import numpy as np

from psgd.config.settings import Libsvm
from psgd.core.errors import DataError, UsageError
from psgd.core.wording import first_names
from psgd.data.dataset import Data
from psgd.data.sources.compressed import open_unpacked
from psgd.data.sparse import SparseDataset

READ_BYTES = 1 << 20  # bytes of lines parsed at a time; raised, reading takes more memory and fewer calls
_LARGEST_INDEX = 2**31 - 2  # indices are stored as int32
_LARGEST_FLOAT32 = np.finfo(np.float32).max
_NUMBER = rb"[+-]?(?:\d++\.?+\d*+|\.\d++)(?:[eE][+-]?\d++)?+"
_EXAMPLE = re.compile(
    rb"[ \t]*+(?:(" + _NUMBER + rb")(?:[ \t]++qid:\d++)?+((?:[ \t]++\d++:" + _NUMBER + rb")*+)[ \t]*+)?+"
    rb"(?:#[^\n]*+)?+\r?+\n?+"
)


def load_libsvm(path: Path, test_path: Path | None, settings: Libsvm) -> Data:
    """Load training examples from `path`, and test examples from `test_path` or after the first `train_rows` of `path`.
    Classes and the number of features are learnt from the training examples. DataError names the file and the line of
    the first mistake. UsageError if `train_rows` leaves nothing to test on."""
    rows, train_rows = _read(path, settings, None), settings.train_rows
    if train_rows and train_rows >= len(rows.labels):
        count = len(rows.labels)
        raise UsageError(f"data.train_rows is {train_rows}, but {path} has {count} examples; leave some to test")
    found = np.frombuffer(rows.labels)
    labels = None if settings.task == "regression" else _learn_labels(path, found[:train_rows])
    if labels is not None and len(unknown := np.flatnonzero(~np.isin(found, labels))):
        what = f"example {unknown[0] + 1} has the label {found[unknown[0]]:g}, which none of the first {train_rows} has"
        raise DataError(f"{path}: {what}; correct or remove the line, or raise data.train_rows")
    other = _read(test_path, settings, labels) if test_path else None
    features = settings.features or 1 + rows.largest_index(train_rows)
    whole = rows.dataset(labels, features)
    train, test = whole, other.dataset(labels, features) if other else None
    if train_rows:
        train, test = whole.take(slice(0, train_rows)), whole.take(slice(train_rows, None))
    names = [int(label) for label in labels] if labels is not None else []
    origin = f"{path}, {len(train.indices) / len(train):.1f} of {features} features an example"
    parsed, kept = (sum(len(part.indices) for part in parts if part) for parts in ((rows, other), (train, test)))
    if ignored := parsed - kept:
        origin += f" ({ignored} entries of test examples are ignored: no training example has their features)"
    preparation = {"kind": "libsvm", "classes": names, "zero_based": settings.zero_based, "unit": settings.unit_length}
    return Data(train, test, None, origin, preparation)


def read_new_examples(path: Path, settings: Libsvm, features: int) -> tuple[SparseDataset, np.ndarray, int]:
    """Read examples to predict from. Returns them, without targets; their labels (N,) as they are in the file; and how
    many entries were left out because their features are not among the model's. DataError names file and line."""
    rows = _read(path, settings, None)
    data = rows.dataset(None, features)
    return data, np.frombuffer(rows.labels), len(rows.indices) - len(data.indices)


def _learn_labels(path: Path, found: np.ndarray) -> np.ndarray:
    """Return the different labels, ascending. A label's class number is its index. DataError if there is only one."""
    labels = np.unique(found)
    if len(labels) < 2:
        raise DataError(f"{path}: all labels are {labels[0]:g}; classification needs two classes at least")
    return labels


def _read(path: Path, settings: Libsvm, labels: np.ndarray | None) -> "_Parser":
    """Parse a file. DataError if it has no example, or a label that is not among `labels` (None: any label)."""
    parser = _Parser(path, settings, labels)
    line = 1
    with open_unpacked(path) as file:
        while lines := file.readlines(READ_BYTES):
            if line == 1:
                lines[0] = lines[0].removeprefix(codecs.BOM_UTF8)
            parser.add(lines, line)
            line += len(lines)
    if not parser.labels:
        raise DataError(f"{path}: no examples; expected lines such as '1 3:0.5 7:1'")
    return parser


@final
class _Parser:
    """Collects rows in arrays that grow in place, so that parsing takes little more memory than the data."""

    def __init__(self, path: Path, settings: Libsvm, labels: np.ndarray | None) -> None:
        self._path, self._settings, self._allowed = path, settings, labels
        self._limit = min(_LARGEST_INDEX, settings.features - 1 if settings.features else _LARGEST_INDEX)
        self.labels = array("d")  # as they are in the file
        self._indptr, self.indices = array("q", [0]), array("i")
        self._values: array[float] | None = None  # None while all values are 1

    def add(self, lines: Sequence[bytes], first: int) -> None:
        """Parse lines; `first` is the number of the first one in the file."""
        numbers, labels, pairs = [], [], []
        for number, line in enumerate(lines, first):
            match = _EXAMPLE.fullmatch(line)
            if match is None:
                raise DataError(f"{self._path}:{number}: {_fault(line)}")
            if match[1] is not None:
                numbers.append(number)
                labels.append(float(match[1]))
                pairs.append(match[2])
        if not labels:
            return
        counts = np.array([pair.count(b":") for pair in pairs])
        self._add_labels(np.array(labels), np.array(numbers))
        self._add_entries(b"".join(pairs), counts, np.array(numbers))

    def largest_index(self, rows: int | None) -> int:
        """Return the largest index in the first `rows` rows, or in all."""
        entries = self._indptr[rows] if rows else len(self.indices)
        return int(np.frombuffer(self.indices, np.int32)[:entries].max(initial=0))

    def dataset(self, labels: np.ndarray | None, features: int) -> SparseDataset:
        """Return the parsed rows, as views if all their indices are below `features`, else without the other entries.
        Targets are indices in `labels`, or numbers if it is None."""
        values = None if self._values is None else np.frombuffer(self._values, np.float32)
        found = np.frombuffer(self.labels)
        targets = found[:, None] if labels is None else np.searchsorted(labels, found)
        indptr, indices = np.frombuffer(self._indptr, np.int64), np.frombuffer(self.indices, np.int32)
        if self.largest_index(None) >= features:
            known = indices < features
            indptr = np.concatenate([[0], np.cumsum(known)])[indptr]
            indices, values = indices[known], None if values is None else values[known]
        return SparseDataset(indptr, indices, values, targets, 0 if labels is None else len(labels), features)

    def _add_labels(self, labels: np.ndarray, numbers: np.ndarray) -> None:
        if self._settings.task == "classification":
            wrong = (labels != np.rint(labels)) | ~np.isfinite(labels)
            what = "the label {:g} is not a whole number; set data.task: regression to learn numbers"
        else:
            wrong = np.abs(labels) > _LARGEST_FLOAT32
            what = "the label {:g} is too large for float32; scale it"
        self._check(wrong, numbers, labels, what)
        if self._settings.task == "classification":
            what = "the label {:.17g} is so large that others are read as the same number; number the classes from 0"
            self._check(np.abs(labels) >= 2.0**53, numbers, labels, what)
        if self._allowed is not None:
            names = first_names([f"{label:g}" for label in self._allowed])
            what = f"the label {{:g}} is none of those trained on ({names}); correct or remove the line"
            self._check(~np.isin(labels, self._allowed), numbers, labels, what)
        self.labels.frombytes(labels.tobytes())

    def _add_entries(self, text: bytes, counts: np.ndarray, numbers: np.ndarray) -> None:
        """Parse the index:value pairs of all rows; counts[i] of them belong to row i, on line numbers[i]."""
        text = text.replace(b":", b" ").strip()  # numpy reads a number in text of spaces alone
        entries = np.fromstring(text, np.float64, sep=" ")
        indices, values = entries[0::2], entries[1::2]
        row = np.repeat(np.arange(len(counts)), counts)
        if not self._settings.zero_based:
            what = "the index {:.15g} of indices from 1; set data.zero_based: true"
            self._check(indices < 1, numbers[row], indices, what)
            indices = indices - 1
        what = "{:.15g} is beyond the largest index allowed, " + f"{self._limit + (not self._settings.zero_based)}"
        what += "; raise data.features" if self._settings.features else ""
        self._check(indices > self._limit, numbers[row], entries[0::2], what)
        falls = np.zeros(len(indices), bool)
        falls[1:] = (indices[1:] <= indices[:-1]) & (row[1:] == row[:-1])
        what = "the index {:.15g} is not larger than the one before it; sort them, and keep one of equal ones"
        self._check(falls, numbers[row], entries[0::2], what)
        if self._settings.unit_length:
            norms = np.sqrt(np.bincount(row, values * values, len(counts)))
            norms[norms == 0] = 1.0
            values = values / norms[row]
        large = np.abs(values) > _LARGEST_FLOAT32
        self._check(large, numbers[row], values, "the value {:.15g} is too large for float32; scale the data")
        narrow = values.astype(np.float32)
        if self._values is None and (narrow != 1.0).any():
            self._values = array("f", [1.0]) * len(self.indices)
        if self._values is not None:
            self._values.frombytes(narrow.tobytes())
        self._indptr.frombytes((np.cumsum(counts) + self._indptr[-1]).astype(np.int64).tobytes())
        self.indices.frombytes(indices.astype(np.int32).tobytes())

    def _check(self, wrong: np.ndarray, numbers: np.ndarray, shown: np.ndarray, what: str) -> None:
        """Raise DataError, with line number and shown value, for the first entry that is wrong."""
        if wrong.any():
            place = int(np.argmax(wrong))
            raise DataError(f"{self._path}:{numbers[place]}: {what.format(shown[place])}")


def _fault(line: bytes) -> str:
    """Say why a line is not an example."""
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
