"""Sparse rows (CSR) for a learner that takes dense ones: only the rows of a batch become dense.

Shapes: N examples, F features, B rows of a batch, O outputs, E stored entries.
"""

from dataclasses import dataclass
from typing import final

import numpy as np

from psgd.backends.backend import Backend
from psgd.backends.numpy.backend import NUMPY
from psgd.data.dataset import Reader
from psgd.data.sparse import copy_rows
from psgd.data.targets import check_targets, write_targets


@final
@dataclass(frozen=True, eq=False)
class SparseAsDense:
    """indptr (N + 1,), indices (E,) in [0, F) and values (E,), no index twice in a row; targets as in `Dataset`.
    DataError if the targets do not fit."""

    indptr: np.ndarray
    indices: np.ndarray
    values: np.ndarray
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

    def reader(self, examples: int, outputs: int, dtype: np.dtype, backend: Backend = NUMPY) -> Reader:
        """Return a reader of the inputs and a column of ones (B, F + 1), as those of a `Dataset`."""
        del backend
        X_BI, T_BO = np.ones((examples, self.features + 1), dtype), np.empty((examples, outputs), dtype)

        def read(rows: np.ndarray | slice) -> tuple[np.ndarray, np.ndarray]:
            numbers = self._numbers(rows)
            X, T = X_BI[: len(numbers)], T_BO[: len(numbers)]
            X[:, :-1] = 0
            for row, number in enumerate(numbers.tolist()):
                entries = slice(self.indptr[number], self.indptr[number + 1])
                X[row, self.indices[entries]] = self.values[entries]
            write_targets(self.targets[numbers], self.classes, T)
            return X, T

        return read

    def take(self, rows: np.ndarray | slice) -> "SparseAsDense":
        numbers = self._numbers(rows)
        starts, stops = self.indptr[numbers], self.indptr[numbers + 1]
        indptr = np.concatenate([[0], np.cumsum(stops - starts)])
        indices = copy_rows(self.indices, starts, stops, np.empty(indptr[-1], self.indices.dtype))
        values = copy_rows(self.values, starts, stops, np.empty(indptr[-1], self.values.dtype))
        return SparseAsDense(indptr, indices, values, self.targets[numbers], self.classes, self.features)

    def _numbers(self, rows: np.ndarray | slice) -> np.ndarray:
        return np.arange(*rows.indices(len(self))) if isinstance(rows, slice) else rows
