"""A choice of rows of a data set that may be larger than memory: rows are copied only into batches."""

from dataclasses import dataclass
from typing import final

import numpy as np

from psgd.backends.backend import Backend
from psgd.backends.numpy.backend import NUMPY
from psgd.data.dataset import Dataset, Reader
from psgd.data.read_ahead import read_ahead_of


@final
@dataclass(frozen=True, eq=False)
class Selected:
    """The `rows` (N,) int64 of `base`, as a data set. If `piece` is set, the mapped file is read ahead in pieces of so
    many rows, for access in random order."""

    base: Dataset
    rows: np.ndarray
    piece: int | None = None

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def classes(self) -> int:
        return self.base.classes

    @property
    def features(self) -> int:
        return self.base.features

    @property
    def outputs(self) -> int:
        return self.base.outputs

    def batches_per_read(self, batch: int) -> int:
        return self.base.batches_per_read(batch)

    def reader(self, examples: int, outputs: int, dtype: np.dtype, backend: Backend = NUMPY) -> Reader:
        read = self.base.reader(examples, outputs, dtype, backend)
        ahead = read_ahead_of(self.base.inputs, self.piece) if self.piece else None

        def read_selected(rows: np.ndarray | slice) -> tuple[np.ndarray, np.ndarray]:
            wanted = self.rows[rows]
            if ahead:
                ahead.request(wanted)
            return read(wanted)

        return read_selected

    def take(self, rows: np.ndarray | slice) -> "Selected":
        return Selected(self.base, self.rows[rows], self.piece)
