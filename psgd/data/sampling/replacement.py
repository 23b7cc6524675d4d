"""Draws with replacement from all the data: Zinkevich et al. 2010, algorithms 1 and 2, the ones they analyse."""

from collections.abc import Iterator, Sequence
from typing import final

import numpy as np

from psgd.core.random_streams import stream
from psgd.core.replica import Progress
from psgd.data.sampling.shuffle import IndexBatch, positions

BLOCK_DRAWS = 4096  # row numbers drawn at a time, each block from a random stream of its own


@final
class Replacement:
    """Every worker draws for itself; an epoch is as many draws, over all workers, as there are examples."""

    def __init__(self, examples: int, batch: int, seed: int) -> None:
        self.examples = examples
        self.note = "data.mode replacement: an epoch is as many draws as there are examples; some come twice or never"
        self.batch, self._seed = batch, seed
        self._drawn: dict[int, tuple[int, np.ndarray]] = {}  # worker -> (number of the block, its row numbers)

    def batches(
        self, worker: int, plan: Sequence[int], first: int, steps: int, progress: Progress
    ) -> Iterator[IndexBatch]:
        before = progress.dealt[worker] if progress.dealt else 0
        starts = positions(plan, worker, first, steps, progress.position, self.batch)
        for step, start in enumerate(starts, before + first):
            yield IndexBatch(self._rows(worker, step * self.batch), (start + self.batch / 2) / self.examples)

    def _rows(self, worker: int, start: int) -> np.ndarray:
        rows = np.empty(self.batch, np.int64)
        done = 0
        while done < self.batch:
            block, cursor = divmod(start + done, BLOCK_DRAWS)
            part = self._block(worker, block)[cursor : cursor + self.batch - done]
            rows[done : done + len(part)] = part
            done += len(part)
        return rows

    def _block(self, worker: int, block: int) -> np.ndarray:
        known = self._drawn.get(worker)
        if known is None or known[0] != block:
            draws = stream(self._seed, "replacement", worker, block).integers(0, self.examples, BLOCK_DRAWS)
            known = self._drawn[worker] = block, draws
        return known[1]
