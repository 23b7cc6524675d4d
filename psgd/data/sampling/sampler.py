"""Which examples every worker's batches hold, as functions of (seed, progress, worker), never of a process."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple, final

import numpy as np

from psgd.core.replica import Progress


class IndexBatch(NamedTuple):
    """The rows of one batch."""

    rows: np.ndarray  # (B,) row numbers
    epoch: float  # the point in the training at its middle


class Sampler(ABC):
    def __init__(self, examples: int, batch: int, note: str) -> None:
        self.examples = examples  # of an epoch, over all workers
        self.batch = batch  # examples of one worker's step
        self.note = note  # for people: what they should know of this way of sampling; may be empty

    @abstractmethod
    def batch_at(self, worker: int, step: int, position: int) -> IndexBatch:
        """The batch that is dealt to `worker` as its number `step` of the training, after `position` examples."""

    def batches(
        self, worker: int, plan: Sequence[int], first: int, steps: int, progress: Progress
    ) -> Iterator[IndexBatch]:
        """The batches `first` ... of `worker` in the round that begins at `progress`, in which worker i is dealt
        plan[i] batches."""
        before = progress.dealt[worker] if progress.dealt else 0
        starts = positions(plan, worker, first, steps, progress.position, self.batch)
        for step, start in enumerate(starts, before + first):
            yield self.batch_at(worker, step, start)


@final
class RowStream:
    """An endless stream of row numbers. Its block n, of `length` numbers, is draw(n); up to `kept` blocks are kept."""

    def __init__(self, length: int, draw: Callable[[int], np.ndarray], kept: int) -> None:
        self._length, self._draw, self._kept = length, draw, kept
        self._blocks: dict[int, np.ndarray] = {}

    def rows(self, position: int, count: int) -> np.ndarray:
        """Row numbers (count,) from `position` on, which may straddle blocks. Read-only."""
        block, cursor = divmod(position, self._length)
        if cursor + count <= self._length:
            return self._block(block)[cursor : cursor + count]
        parts = []
        while count:
            parts.append(self._block(block)[cursor : cursor + count])
            block, cursor, count = block + 1, 0, count - len(parts[-1])
        return np.concatenate(parts)

    def _block(self, block: int) -> np.ndarray:
        if block not in self._blocks:
            if len(self._blocks) == self._kept:  # released first, so that there is memory for the new one
                del self._blocks[min(self._blocks)]
            self._blocks[block] = self._draw(block)
        return self._blocks[block]


def positions(plan: Sequence[int], worker: int, first: int, steps: int, start: int, batch: int) -> Sequence[int]:
    """Positions in the training (steps,) of the batches `first` ... of `worker`, in the round that begins at `start`
    and in which worker i is dealt plan[i] batches: turn after turn, in worker order."""
    if min(plan) == max(plan):
        turn = len(plan) * batch
        start += first * turn + worker * batch
        return range(start, start + steps * turn, turn)
    turns = np.arange(first, first + steps)
    before = np.zeros(steps, np.int64)
    for other, wanted in enumerate(plan):
        before += np.minimum(wanted, turns)
        if other < worker:
            before += wanted > turns
    dealt: list[int] = (start + before * batch).tolist()
    return dealt
