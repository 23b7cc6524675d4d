"""From what is dealt to what is learnt from: rows are read, small batches several at a time."""

from collections.abc import Iterator
from itertools import islice
from typing import final

import numpy as np

from psgd.backends.backend import Backend
from psgd.backends.numpy.backend import NUMPY
from psgd.data.dataset import Examples
from psgd.data.sampling.shuffle import IndexBatch
from psgd.learners.learner import Batch


@final
class Batches:
    """Of `data`, in buffers of its own; `batch` examples each, with `outputs` columns of targets."""

    def __init__(self, data: Examples, batch: int, outputs: int, dtype: np.dtype, backend: Backend = NUMPY) -> None:
        self._batch, self._at_once = batch, data.batches_per_read(batch)
        self._read = data.reader(batch * self._at_once, outputs, dtype, backend)

    def of(self, hands: Iterator[IndexBatch]) -> Iterator[Batch]:
        """Each is overwritten by a later one."""
        while block := list(islice(hands, self._at_once)):
            if len(block) == 1:  # sparse rows cannot be cut into batches
                rows, epoch = block[0]
                yield Batch(*self._read(rows), epoch)
                continue
            both = self._read(np.concatenate([hand.rows for hand in block]))
            X, T = (part.reshape(len(block), self._batch, -1) for part in both)
            for X_BI, T_BO, (_, epoch) in zip(X, T, block, strict=True):
                yield Batch(X_BI, T_BO, epoch)
