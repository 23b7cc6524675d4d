"""One split of sparse data as compressed rows, and how rows of it become a batch.

Shapes: N examples, F features, B rows of a batch, O outputs, E stored entries of all rows (or of a batch's).
"""

import math
from dataclasses import dataclass
from typing import NamedTuple, final

import numpy as np

from psgd.backends.backend import Backend
from psgd.backends.numpy.backend import NUMPY
from psgd.core.errors import DataError
from psgd.data.dataset import Reader, _check_labels, _check_regression


class SparseRows(NamedTuple):
    """The inputs of a batch, read-only: row b holds the entries starts[b] to starts[b + 1]."""

    starts: np.ndarray  # (B + 1,) int64, from 0
    indices: np.ndarray  # (E,) int32 or int64, in [0, F)
    values: np.ndarray  # (E,) of the reader's dtype


@final
@dataclass(frozen=True, eq=False)
class SparseDataset:
    """Examples of one split, as compressed rows; nothing is ever made dense.

    indptr (N + 1,) int64, indices (E,) int32, values (E,) float32, or None where all are 1; targets as in `Dataset`;
    `scale` multiplies the values when they are read. DataError if these do not fit together.
    """

    indptr: np.ndarray
    indices: np.ndarray
    values: np.ndarray | None
    targets: np.ndarray
    classes: int
    features: int
    scale: float = 1.0

    def __post_init__(self) -> None:
        _check_rows(self.indptr, self.indices, self.values)
        if not (math.isfinite(self.scale) and self.scale > 0):
            raise DataError(f"the scale of the inputs is {self.scale}; expected a finite number above 0")
        if len(self.indices) and not (self.indices.min() >= 0 and self.indices.max() < self.features):
            raise DataError(
                f"indices lie in {self.indices.min()} to {self.indices.max()}; expected 0 to {self.features - 1} for "
                f"{self.features} features"
            )
        if self.classes == 0:
            _check_regression(self.targets)
        else:
            _check_labels(self.targets, self.classes)
        if len(self) != len(self.targets):
            raise DataError(f"{len(self)} rows of inputs but {len(self.targets)} targets; each row needs one")

    def __len__(self) -> int:
        return len(self.indptr) - 1

    @property
    def outputs(self) -> int:
        return self.classes or int(self.targets.shape[1])

    @property
    def bytes(self) -> int:
        """Of memory that the data take."""
        arrays = (self.indptr, self.indices, self.targets, *([] if self.values is None else [self.values]))
        return sum(array.nbytes for array in arrays)

    def batches_per_read(self, batch: int) -> int:
        return 1

    def reader(self, examples: int, outputs: int, dtype: np.dtype, backend: Backend = NUMPY) -> Reader:
        """A reader of up to `examples` rows at a time, as (SparseRows, T_BO), into buffers of its own. A single row, or
        adjacent rows, are not copied."""
        del backend
        return _Reader(self, examples, outputs, np.dtype(dtype))

    def take(self, rows: np.ndarray | slice) -> "SparseDataset":
        """A new dataset with a copy of `rows`, in their order."""
        numbers = np.arange(*rows.indices(len(self))) if isinstance(rows, slice) else rows
        starts, stops = self.indptr[numbers], self.indptr[numbers + 1]
        indptr = np.zeros(len(numbers) + 1, np.int64)
        np.cumsum(stops - starts, out=indptr[1:])
        indices = np.empty(indptr[-1], np.int32)
        copy_rows(self.indices, starts, stops, indices)
        values = None
        if self.values is not None:
            values = np.empty(indptr[-1], np.float32)
            copy_rows(self.values, starts, stops, values)
        return SparseDataset(indptr, indices, values, self.targets[numbers], self.classes, self.features, self.scale)


def copy_rows(source: np.ndarray, starts: np.ndarray, stops: np.ndarray, out: np.ndarray) -> None:
    """One row after another into `out`. A loop: for rows of 100 entries it takes a tenth of what index arithmetic on
    whole batches does, and no memory."""
    at = 0
    for start, stop in zip(starts.tolist(), stops.tolist(), strict=True):
        end = at + stop - start
        out[at:end] = source[start:stop]
        at = end


@final
class _Reader:
    def __init__(self, data: SparseDataset, examples: int, outputs: int, dtype: np.dtype) -> None:
        self._data, self._dtype = data, dtype
        self._binary = data.classes == 2 and outputs == 1
        if not self._binary and outputs != data.outputs:
            raise ValueError(f"{outputs} columns of targets; these data need {data.outputs}")
        self._as_stored = data.scale == 1.0 and dtype == np.float32
        self._T_BO = np.empty((examples, outputs), dtype)
        self._starts = np.zeros(examples + 1, np.int64)
        self._indices = np.empty(0, np.int64)
        self._values = np.empty(0, dtype)

    def __call__(self, rows: np.ndarray | slice) -> tuple[SparseRows, np.ndarray]:
        if isinstance(rows, slice):
            first, stop, step = rows.indices(len(self._data))
            if step == 1:
                return self._adjacent(first, max(first, stop)), self._targets(rows, max(0, stop - first))
            rows = np.arange(first, stop, step)
        examples = len(self._data)
        if len(rows) == 1 and 0 <= (row := int(rows[0])) < examples:
            return self._adjacent(row, row + 1), self._targets(slice(row, row + 1), 1)
        if len(rows) and (rows.min() < 0 or rows.max() >= examples):
            raise IndexError(f"rows {rows.min()}..{rows.max()} of a dataset of {examples} examples")
        return self._scattered(rows), self._targets(rows, len(rows))

    def _adjacent(self, first: int, stop: int) -> SparseRows:
        """Adjacent rows: views, where values need no scaling or conversion."""
        data = self._data
        starts = self._starts[: stop - first + 1]
        np.subtract(data.indptr[first : stop + 1], data.indptr[first], out=starts)
        where = slice(int(data.indptr[first]), int(data.indptr[stop]))
        if data.values is None:
            values = self._ones(where.stop - where.start)
        elif self._as_stored:
            values = data.values[where]
        else:
            values = self._value_buffer(where.stop - where.start)
            np.multiply(data.values[where], self._dtype.type(data.scale), out=values)
        return SparseRows(starts, data.indices[where], values)

    def _scattered(self, rows: np.ndarray) -> SparseRows:
        data = self._data
        begins, ends = data.indptr[rows], data.indptr[rows + 1]
        starts = self._starts[: len(rows) + 1]
        np.cumsum(ends - begins, out=starts[1:])
        entries = int(starts[-1])
        if len(self._indices) < entries:
            self._indices = np.empty(2 * entries, np.int64)
        copy_rows(data.indices, begins, ends, self._indices)
        if data.values is None:
            values = self._ones(entries)
        else:
            values = self._value_buffer(entries)
            copy_rows(data.values, begins, ends, values)
            if data.scale != 1.0:
                values *= data.scale
        return SparseRows(starts, self._indices[:entries], values)

    def _ones(self, entries: int) -> np.ndarray:
        """So many times the scale, the value of every entry: written only when the buffer grows."""
        if len(self._values) < entries:
            self._values = np.full(2 * entries, self._data.scale, self._dtype)
        return self._values[:entries]

    def _value_buffer(self, entries: int) -> np.ndarray:
        if len(self._values) < entries:
            self._values = np.empty(2 * entries, self._dtype)
        return self._values[:entries]

    def _targets(self, rows: np.ndarray | slice, count: int) -> np.ndarray:
        """Labels become one-hot rows, or stay 0 and 1 where two classes meet a single output."""
        data, T_BO = self._data, self._T_BO[:count]
        if self._binary:
            T_BO[:, 0] = data.targets[rows]
        elif data.classes == 0:
            T_BO[:] = data.targets[rows]
        else:
            T_BO.fill(0)
            T_BO[np.arange(count), data.targets[rows]] = 1
        return T_BO


def _check_rows(indptr: np.ndarray, indices: np.ndarray, values: np.ndarray | None) -> None:
    if indptr.dtype != np.int64 or indices.dtype != np.int32 or (values is not None and values.dtype != np.float32):
        found = None if values is None else values.dtype
        raise DataError(
            f"sparse rows of indptr {indptr.dtype}, indices {indices.dtype}, values {found}; expected int64, int32 and "
            "float32 (or no values)"
        )
    if indptr.ndim != 1 or len(indptr) < 2 or indptr[0] != 0 or (np.diff(indptr) < 0).any():
        raise DataError("indptr of sparse rows must begin with 0 and never fall, with at least one row")
    if indices.shape != (indptr[-1],) or (values is not None and values.shape != indices.shape):
        raise DataError(f"indptr ends at {indptr[-1]}, but there are {len(indices)} indices; each entry needs one")
