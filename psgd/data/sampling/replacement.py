"""Sampling with replacement from all data (Zinkevich et al. 2010, algorithms 1 and 2)."""

from typing import final

import numpy as np

from psgd.core.random_streams import stream
from psgd.data.sampling.own_streams import OwnStreams

BLOCK_DRAWS = 4096  # row numbers drawn at a time, each block from its own random stream; another number, other draws


@final
class Replacement(OwnStreams):
    """Independent draws of each worker. An epoch is as many draws, over all workers, as there are examples."""

    def __init__(self, examples: int, batch: int, workers: int, seed: int) -> None:
        note = "data.mode replacement: an epoch is as many draws as there are examples; some come twice or never"
        super().__init__(examples, batch, note, workers, BLOCK_DRAWS, self._draw_block)
        self._seed = seed

    def _draw_block(self, worker: int, block: int) -> np.ndarray:
        return stream(self._seed, "replacement", worker, block).integers(0, self.examples, BLOCK_DRAWS)
