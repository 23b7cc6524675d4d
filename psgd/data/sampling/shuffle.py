"""Sampling without replacement: the training is an endless stream of epochs, each a seeded permutation of all examples.

A round takes the next part of the stream and deals it to the workers, batch by batch (see `positions`), so that each
example is used exactly once an epoch over all workers, whatever their speeds.

With a `window`, pieces of consecutive rows are permuted, and then the rows within each window of some pieces: single
rows of a file larger than memory would be read a hundred times slower in random order.
"""

from collections.abc import Sequence
from typing import final

import numpy as np

from psgd.core.random_streams import stream
from psgd.core.replica import Progress
from psgd.data.sampling.sampler import ROWS_AHEAD, IndexBatch, RowStream, Sampler

PIECES = 64  # pieces of a window; raised, they are shorter, and a file is read in smaller parts


@final
class Shuffle(Sampler):
    def __init__(self, examples: int, batch: int, seed: int, window: int | None = None) -> None:
        note = f"data.window {window}: only so many examples at a time are shuffled" if window else ""
        super().__init__(examples, batch, note)
        self._seed, self._window = seed, window
        # A round may straddle two epochs, so that the workers of one process need both, and all that are drawn ahead.
        self.stream = RowStream(examples, self._draw_epoch, kept=2 + ROWS_AHEAD // examples)

    def batch_at(self, worker: int, step: int, position: int) -> IndexBatch:
        return IndexBatch(self.stream.rows(position, self.batch), (position + self.batch / 2) / self.examples)

    def fill(
        self,
        workers: Sequence[int],
        plan: Sequence[int],
        first: Sequence[int],
        steps: Sequence[int],
        progress: Progress,
        rows: np.ndarray,
        epochs: np.ndarray,
    ) -> None:
        """Where all workers do the same, their batches lie side by side in the stream."""
        if not len(set(plan)) == len(set(first)) == len(set(steps)) == 1:
            super().fill(workers, plan, first, steps, progress, rows, epochs)
            return
        count, batch = steps[0], self.batch
        turn = len(plan) * batch  # examples of one step of all workers
        start = progress.position + first[0] * turn
        rows[:count] = self.stream.rows(start, count * turn).reshape(count, len(plan), batch)[:, workers]
        positions = start + np.arange(count)[:, None] * turn + np.array(workers) * batch
        epochs[:count] = (positions + batch / 2) / self.examples

    def draw_ahead(
        self, workers: Sequence[int], plan: Sequence[int], taken: Sequence[int], steps: int, progress: Progress
    ) -> None:
        """All workers go on in one stream."""
        dealt = sum(min(planned, max(taken)) for planned in plan)
        count = steps * sum(planned > 0 for planned in plan)
        self.stream.draw_ahead(progress.position + dealt * self.batch, count * self.batch)

    def _draw_epoch(self, epoch: int) -> np.ndarray:
        draw = stream(self._seed, "shuffle", epoch)
        if self._window:
            return _windowed(draw, self.examples, self._window)
        return draw.permutation(self.examples)


def _windowed(draw: np.random.Generator, examples: int, window: int) -> np.ndarray:
    """Return a permutation (examples,) of pieces of consecutive rows, shuffled within each window."""
    piece = max(1, window // PIECES)
    starts = draw.permutation(-(-examples // piece)) * piece
    rows = (starts[:, None] + np.arange(piece)).reshape(-1)
    rows = rows[rows < examples]
    for start in range(0, examples, window):
        draw.shuffle(rows[start : start + window])
    return rows
