"""Data sets of compressed sparse rows (CSR), whose batches are sparse, too.

Shapes: N examples, F features, B rows of a batch, O outputs, E stored entries of all rows (or of a batch's).
"""

from dataclasses import dataclass, replace
from typing import NamedTuple, Self, final

import numpy as np

from psgd.backends.backend import Backend
from psgd.backends.numpy.backend import NUMPY
from psgd.core.errors import DataError
from psgd.data.dataset import Reader, check_scale
from psgd.data.targets import check_targets, is_binary, write_targets


class SparseRows(NamedTuple):
    """The inputs of a batch: row b has entries starts[b] to starts[b + 1]. Read-only: they may be the stored ones."""

    starts: np.ndarray  # (B + 1,) int64, from 0
    indices: np.ndarray  # (E,) int32 or int64, in [0, F)
    values: np.ndarray  # (E,) of the reader's dtype


@dataclass(frozen=True, eq=False)
class CompressedRows:
    """Examples whose inputs are sparse: row n has entries indptr[n] to indptr[n + 1]. indptr (N + 1,), indices (E,) in
    [0, F), values (E,), or None where all are 1; targets as in `Dataset`. DataError if the targets do not fit."""

    indptr: np.ndarray
    indices: np.ndarray
    values: np.ndarray | None
    targets: np.ndarray
    classes: int
    features: int

    def __post_init__(self) -> None:
        check_targets(self.targets, self.classes, len(self))

    def __len__(self) -> int:
        return len(self.indptr) - 1

    @property
    def outputs(self) -> int:
        return self.classes or int(self.targets.shape[1])

    def batches_per_read(self, batch: int) -> int:
        return 1

    def take(self, rows: np.ndarray | slice) -> Self:
        numbers = self.row_numbers(rows)
        starts, stops = self.indptr[numbers], self.indptr[numbers + 1]
        indptr = np.zeros(len(numbers) + 1, np.int64)
        np.cumsum(stops - starts, out=indptr[1:])
        indices = copy_rows(self.indices, starts, stops, np.empty(indptr[-1], self.indices.dtype))
        values = self.values
        if values is not None:
            values = copy_rows(values, starts, stops, np.empty(indptr[-1], values.dtype))
        return replace(self, indptr=indptr, indices=indices, values=values, targets=self.targets[numbers])

    def row_numbers(self, rows: np.ndarray | slice) -> np.ndarray:
        return np.arange(*rows.indices(len(self))) if isinstance(rows, slice) else rows


@final
@dataclass(frozen=True, eq=False)
class SparseDataset(CompressedRows):
    """Batches of sparse rows: indptr int64, indices int32, values float32; `scale` multiplies the values when they are
    read. DataError if these do not fit together."""

    scale: float = 1.0

    def __post_init__(self) -> None:
        indptr, indices, values = self.indptr, self.indices, self.values
        if indptr.dtype != np.int64 or indices.dtype != np.int32 or (values is not None and values.dtype != np.float32):
            found = None if values is None else values.dtype
            raise DataError(
                f"sparse rows of indptr {indptr.dtype}, indices {indices.dtype}, values {found}; "
                "expected int64, int32 and float32 (or no values)"
            )
        if indptr.ndim != 1 or len(indptr) < 2 or indptr[0] != 0 or (np.diff(indptr) < 0).any():
            raise DataError("indptr of sparse rows must begin with 0 and never fall, with at least one row")
        if indices.shape != (indptr[-1],) or (values is not None and values.shape != indices.shape):
            raise DataError(f"indptr ends at {indptr[-1]}, but there are {len(indices)} indices; each entry needs one")
        check_scale(self.scale)
        if len(indices) and not (indices.min() >= 0 and indices.max() < self.features):
            raise DataError(
                f"indices lie in {indices.min()} to {indices.max()}; expected 0 to {self.features - 1} for "
                f"{self.features} features"
            )
        super().__post_init__()

    def reader(self, examples: int, outputs: int, dtype: np.dtype, backend: Backend = NUMPY) -> Reader:
        """Return a reader of (SparseRows, T_BO). A single row and consecutive rows are not copied."""
        del backend
        return _Reader(self, examples, outputs, np.dtype(dtype))


def copy_rows(source: np.ndarray, starts: np.ndarray, stops: np.ndarray, out: np.ndarray) -> np.ndarray:
    """Copy source[starts[i]:stops[i]] for all i to `out`, one after another, and return `out`. A Python loop: for rows
    of 100 entries it takes a tenth of the time of index arithmetic on whole batches, and no memory."""
    at = 0
    for start, stop in zip(starts.tolist(), stops.tolist(), strict=True):
        end = at + stop - start
        out[at:end] = source[start:stop]
        at = end
    return out


@final
class _Reader:
    def __init__(self, data: SparseDataset, examples: int, outputs: int, dtype: np.dtype) -> None:
        self._data, self._dtype = data, dtype
        if outputs != data.outputs and not is_binary(data.classes, outputs):
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
                return self._consecutive(first, max(first, stop)), self._targets(rows)
            rows = np.arange(first, stop, step)
        examples = len(self._data)
        if len(rows) == 1 and 0 <= (row := int(rows[0])) < examples:
            return self._consecutive(row, row + 1), self._targets(slice(row, row + 1))
        if len(rows) and (rows.min() < 0 or rows.max() >= examples):
            raise IndexError(f"rows {rows.min()}..{rows.max()} of a dataset of {examples} examples")
        return self._scattered(rows), self._targets(rows)

    def _consecutive(self, first: int, stop: int) -> SparseRows:
        """Return views of consecutive rows. Values are copied only where the scale or the dtype changes them."""
        data = self._data
        starts = self._starts[: stop - first + 1]
        np.subtract(data.indptr[first : stop + 1], data.indptr[first], out=starts)
        where = slice(int(data.indptr[first]), int(data.indptr[stop]))
        if data.values is not None and self._as_stored:
            values = data.values[where]
        else:
            values = self._value_buffer(where.stop - where.start)
            if data.values is not None:
                np.multiply(data.values[where], self._dtype.type(data.scale), out=values)
        return SparseRows(starts, data.indices[where], values)

    def _scattered(self, rows: np.ndarray) -> SparseRows:
        """Return copies of any rows."""
        data = self._data
        begins, ends = data.indptr[rows], data.indptr[rows + 1]
        starts = self._starts[: len(rows) + 1]
        np.cumsum(ends - begins, out=starts[1:])
        entries = int(starts[-1])
        if len(self._indices) < entries:
            self._indices = np.empty(2 * entries, np.int64)
        copy_rows(data.indices, begins, ends, self._indices)
        values = self._value_buffer(entries)
        if data.values is not None:
            copy_rows(data.values, begins, ends, values)
            if data.scale != 1.0:
                values *= data.scale
        return SparseRows(starts, self._indices[:entries], values)

    def _value_buffer(self, entries: int) -> np.ndarray:
        """Return a buffer for values. It is filled with the scale: if all stored values are 1, that is the result."""
        if len(self._values) < entries:
            self._values = np.full(2 * entries, self._data.scale, self._dtype)
        return self._values[:entries]

    def _targets(self, rows: np.ndarray | slice) -> np.ndarray:
        targets = self._data.targets[rows]
        T_BO = self._T_BO[: len(targets)]
        write_targets(targets, self._data.classes, T_BO)
        return T_BO
