"""Sparse rows (CSR) for a learner that takes dense ones: only the rows of a batch become dense.

Shapes: N examples, F features, B rows of a batch, O outputs, E stored entries.
"""

from dataclasses import dataclass
from typing import final

import numpy as np

from psgd.backends.backend import Backend
from psgd.backends.numpy.backend import NUMPY
from psgd.data.dataset import Reader
from psgd.data.sparse import CompressedRows
from psgd.data.targets import write_targets


@final
@dataclass(frozen=True, eq=False)
class SparseAsDense(CompressedRows):
    """Batches of dense rows; values of any floating dtype. No index comes twice in a row."""

    values: np.ndarray

    def reader(self, examples: int, outputs: int, dtype: np.dtype, backend: Backend = NUMPY) -> Reader:
        """Return a reader of the inputs and a column of ones (B, F + 1), as those of a `Dataset`."""
        del backend
        X_BI, T_BO = np.ones((examples, self.features + 1), dtype), np.empty((examples, outputs), dtype)

        def read(rows: np.ndarray | slice) -> tuple[np.ndarray, np.ndarray]:
            numbers = self.row_numbers(rows)
            X, T = X_BI[: len(numbers)], T_BO[: len(numbers)]
            X[:, :-1] = 0
            for row, number in enumerate(numbers.tolist()):
                entries = slice(self.indptr[number], self.indptr[number + 1])
                X[row, self.indices[entries]] = self.values[entries]
            write_targets(self.targets[numbers], self.classes, T)
            return X, T

        return read
