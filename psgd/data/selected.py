"""Some rows of a data set that may be larger than memory: rows are copied when a batch is read."""

from dataclasses import dataclass
from typing import final

import numpy as np

from psgd.backends.backend import Backend
from psgd.backends.numpy.backend import NUMPY
from psgd.data.dataset import Dataset, Reader
from psgd.data.read_ahead import ahead_of


@final
@dataclass(frozen=True, eq=False)
class Selected:
    """Examples, as `Dataset` is; `rows` (N,) int64 of `base`. If single rows of it are wanted in random order, it is
    read in pieces of `piece` rows."""

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
        ahead = ahead_of(self.base.inputs, self.piece) if self.piece else None

        def read_selected(rows: np.ndarray | slice) -> tuple[np.ndarray, np.ndarray]:
            wanted = self.rows[rows]
            if ahead:
                ahead.ask(wanted)
            return read(wanted)

        return read_selected

    def take(self, rows: np.ndarray | slice) -> "Selected":
        return Selected(self.base, self.rows[rows], self.piece)
