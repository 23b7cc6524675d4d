"""Samplers that draw each worker's rows by themselves."""

from collections.abc import Callable, Sequence
from functools import partial

import numpy as np

from psgd.core.replica import Progress
from psgd.data.sampling.sampler import IndexBatch, RowStream, Sampler


class OwnStreams(Sampler):
    """Each worker has a stream of row numbers of its own: its step number n takes the n-th batch of it."""

    def __init__(
        self,
        examples: int,
        batch: int,
        note: str,
        workers: int,
        length: int,
        draw: Callable[[int, int], np.ndarray],
    ) -> None:
        """draw(worker, n): block n, of `length` rows, of a worker's stream."""
        super().__init__(examples, batch, note)
        self._streams = [RowStream(length, partial(draw, worker), kept=1) for worker in range(workers)]

    def batch_at(self, worker: int, step: int, position: int) -> IndexBatch:
        rows = self._streams[worker].rows(step * self.batch, self.batch)
        return IndexBatch(rows, (position + self.batch / 2) / self.examples)

    def draw_ahead(
        self, workers: Sequence[int], plan: Sequence[int], taken: Sequence[int], steps: int, progress: Progress
    ) -> None:
        for worker, before in zip(workers, taken, strict=True):
            dealt = progress.dealt[worker] if progress.dealt else 0
            self._streams[worker].draw_ahead((dealt + before) * self.batch, steps * self.batch)
