"""Samplers: which examples every worker's batches hold, as functions of (seed, progress, worker), never of a process.

`shuffle`, the usual way: the training is one endless stream, epoch after epoch, each a seeded permutation of all
examples. A round takes the next part of it and deals batch after batch, like cards, to the workers that still want one.
So each example is used exactly once an epoch over all workers, whatever their speeds.

Within a `window`, the permutation takes the data in order of pieces that are read together: for files larger than
memory, from which single rows in random order would be read a hundred times slower.
"""

from collections.abc import Iterator, Sequence
from typing import NamedTuple, Protocol, final

import numpy as np

from psgd.core.random_streams import stream
from psgd.core.replica import Progress

PIECES = 64  # of a window; more are shorter, so a file is read in smaller parts


class IndexBatch(NamedTuple):
    """The rows of one batch."""

    rows: np.ndarray  # (B,) row numbers
    epoch: float  # the point in the training at its middle


class Sampler(Protocol):
    examples: int  # of an epoch, over all workers
    batch: int  # examples of one worker's step
    note: str  # for people: what they should know of this way of sampling; may be empty

    def batches(
        self, worker: int, plan: Sequence[int], first: int, steps: int, progress: Progress
    ) -> Iterator[IndexBatch]:
        """The batches `first` ... of `worker` in the round that begins at `progress`, in which worker i is dealt
        plan[i] batches."""
        ...


@final
class Shuffle:
    def __init__(self, examples: int, batch: int, seed: int, window: int | None = None) -> None:
        self.examples = examples
        self.batch = batch
        self._stream = Shuffled(examples, seed, window)
        self.note = f"data.window {window}: only so many examples at a time are shuffled" if window else ""

    def batches(
        self, worker: int, plan: Sequence[int], first: int, steps: int, progress: Progress
    ) -> Iterator[IndexBatch]:
        for start in positions(plan, worker, first, steps, progress.position, self.batch):
            yield IndexBatch(self._stream.rows(start, self.batch), (start + self.batch / 2) / self.examples)


@final
class Shuffled:
    """The stream of row numbers: a function of (seed, position, window)."""

    def __init__(self, examples: int, seed: int, window: int | None = None) -> None:
        self.examples = examples
        self._seed, self._window = seed, window
        self._epochs: dict[int, np.ndarray] = {}

    def rows(self, position: int, count: int) -> np.ndarray:
        """Row numbers (count,) from `position` on; a batch may straddle epochs."""
        epoch, cursor = divmod(position, self.examples)
        if cursor + count <= self.examples:
            return self._epoch(epoch)[cursor : cursor + count]
        parts = []
        while count:
            parts.append(self._epoch(epoch)[cursor : cursor + count])
            epoch, cursor, count = epoch + 1, 0, count - len(parts[-1])
        return np.concatenate(parts)

    def _epoch(self, epoch: int) -> np.ndarray:
        if epoch not in self._epochs:
            if len(self._epochs) > 1:  # a round may straddle two, and workers of one process be at either
                del self._epochs[min(self._epochs)]
            self._epochs[epoch] = self._draw(epoch)
        return self._epochs[epoch]

    def _draw(self, epoch: int) -> np.ndarray:
        draw = stream(self._seed, "shuffle", epoch)
        if self._window:
            return windowed(draw, self.examples, self._window)
        return draw.permutation(self.examples)


def windowed(draw: np.random.Generator, examples: int, window: int) -> np.ndarray:
    """A permutation (examples,) of pieces of rows; those of the pieces in one window are shuffled together."""
    piece = max(1, window // PIECES)
    starts = draw.permutation(-(-examples // piece)) * piece
    rows = (starts[:, None] + np.arange(piece)).reshape(-1)
    rows = rows[rows < examples]
    for start in range(0, examples, window):
        draw.shuffle(rows[start : start + window])
    return rows


def positions(plan: Sequence[int], worker: int, first: int, steps: int, start: int, batch: int) -> Sequence[int]:
    """Positions in the stream (steps,) of the batches `first` ... of `worker`, in the round that begins at `start`
    and in which worker i is dealt plan[i] batches: turn after turn, in worker order."""
    wants = plan
    if min(wants) == max(wants):
        turn = len(wants) * batch
        start += first * turn + worker * batch
        return range(start, start + steps * turn, turn)
    turns = np.arange(first, first + steps)
    before = np.zeros(steps, np.int64)
    for other, wanted in enumerate(wants):
        before += np.minimum(wanted, turns)
        if other < worker:
            before += wanted > turns
    dealt: list[int] = (start + before * batch).tolist()
    return dealt
