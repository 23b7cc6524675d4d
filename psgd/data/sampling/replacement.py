"""Sampling with replacement from all data (Zinkevich et al. 2010, algorithms 1 and 2)."""

from functools import partial
from typing import final

import numpy as np

from psgd.core.random_streams import stream
from psgd.data.sampling.sampler import IndexBatch, RowStream, Sampler

BLOCK_DRAWS = 4096  # row numbers drawn at a time, each block from its own random stream; another number, other draws


@final
class Replacement(Sampler):
    """Independent draws of each worker. An epoch is as many draws, over all workers, as there are examples."""

    def __init__(self, examples: int, batch: int, workers: int, seed: int) -> None:
        note = "data.mode replacement: an epoch is as many draws as there are examples; some come twice or never"
        super().__init__(examples, batch, note)
        self._seed = seed
        self.streams = [RowStream(BLOCK_DRAWS, partial(self._draw_block, worker), kept=1) for worker in range(workers)]

    def batch_at(self, worker: int, step: int, position: int) -> IndexBatch:
        rows = self.streams[worker].rows(step * self.batch, self.batch)
        return IndexBatch(rows, (position + self.batch / 2) / self.examples)

    def _draw_block(self, worker: int, block: int) -> np.ndarray:
        return stream(self._seed, "replacement", worker, block).integers(0, self.examples, BLOCK_DRAWS)
