"""What samplers share: batches of row numbers as functions of (seed, progress, worker), whatever the processes."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from functools import lru_cache
from typing import NamedTuple, final

import numpy as np

from psgd.core.replica import Progress

# Row numbers that a process may draw ahead of its rounds, where an epoch has fewer: 512 KiB. Raised, it takes more
# memory, and short rounds on few examples cost less.
ROWS_AHEAD = 65536


class IndexBatch(NamedTuple):
    rows: np.ndarray  # (B,) row numbers
    epoch: float  # position of the batch's middle, in epochs


class Sampler(ABC):
    def __init__(self, examples: int, batch: int, note: str) -> None:
        self.examples = examples  # of an epoch, over all workers
        self.batch = batch  # examples of one worker's step
        self.note = note  # a line about this way of sampling for people; may be empty

    @abstractmethod
    def batch_at(self, worker: int, step: int, position: int) -> IndexBatch:
        """Return the batch for step number `step` of `worker` (from 0), which begins at `position` examples of the
        training."""

    def batches(
        self, worker: int, plan: Sequence[int], first: int, steps: int, progress: Progress
    ) -> Iterator[IndexBatch]:
        """Yield the batches `first` to `first + steps` of `worker` in the round that begins at `progress` and takes
        plan[i] steps on worker i."""
        before = progress.dealt[worker] if progress.dealt else 0
        starts = positions(plan, worker, first, steps, progress.position, self.batch)
        for step, start in enumerate(starts, before + first):
            yield self.batch_at(worker, step, start)

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
        """Write batches of several workers, those that `batches` yields for each, to the columns of rows (S, W, B) and
        epochs (S, W). The rest of a column with fewer steps than others is left as it is."""
        for column, (worker, before, count) in enumerate(zip(workers, first, steps, strict=True)):
            for step, batch in enumerate(self.batches(worker, plan, before, count, progress)):
                rows[step, column], epochs[step, column] = batch

    @abstractmethod
    def draw_ahead(
        self, workers: Sequence[int], plan: Sequence[int], taken: Sequence[int], steps: int, progress: Progress
    ) -> None:
        """Draw what the next `steps` batches of these workers, which took `taken` in this round, will need: `fill` then
        takes no time for that."""


@final
class RowStream:
    """An endless stream of row numbers in blocks of `length`. Block n is draw(n); up to `kept` blocks are kept."""

    def __init__(self, length: int, draw: Callable[[int], np.ndarray], kept: int) -> None:
        self._length, self._draw, self._kept = length, draw, kept
        self._blocks: dict[int, np.ndarray] = {}

    def rows(self, position: int, count: int) -> np.ndarray:
        """Return row numbers (count,) from `position` on, which may straddle blocks. Read-only."""
        block, cursor = divmod(position, self._length)
        if cursor + count <= self._length:
            return self._block(block)[cursor : cursor + count]
        parts = []
        while count:
            parts.append(self._block(block)[cursor : cursor + count])
            block, cursor, count = block + 1, 0, count - len(parts[-1])
        return np.concatenate(parts)

    def draw_ahead(self, position: int, count: int) -> None:
        """Draw the blocks in which the next `count` row numbers from `position` on lie, and keep them all."""
        blocks = range(position // self._length, -(-(position + count) // self._length))
        self._kept = max(self._kept, len(blocks))
        for block in blocks:
            self._block(block)

    def _block(self, block: int) -> np.ndarray:
        if block not in self._blocks:
            if len(self._blocks) == self._kept:  # released before the next block is allocated
                del self._blocks[next(iter(self._blocks))]  # the first that was drawn
            self._blocks[block] = self._draw(block)
        return self._blocks[block]


def positions(plan: Sequence[int], worker: int, first: int, steps: int, start: int, batch: int) -> Sequence[int]:
    """Return the positions in the training (steps,) of the batches `first` to `first + steps` of `worker`, in a round
    that begins at `start` and deals plan[i] batches to worker i: one to each worker in order (round-robin), again and
    again, leaving out those that have all of theirs."""
    if min(plan) == max(plan):
        stride = len(plan) * batch
        start += first * stride + worker * batch
        return range(start, start + steps * stride, stride)
    counts, ascending, sums = _sorted_plan(tuple(plan))
    own = np.arange(first, first + steps)  # batches of the worker before each
    # Batches of all workers before each: all of those that have no more than `own`, and `own` of the others, of which
    # those before this worker have one more.
    done = np.searchsorted(ascending, own, "right")
    before = sums[done] + (len(plan) - done) * own
    before += worker - np.searchsorted(np.sort(counts[:worker]), own, "right")
    found: list[int] = (start + before * batch).tolist()
    return found


@lru_cache(maxsize=2)  # all workers of a round ask for the same one
def _sorted_plan(plan: tuple[int, ...]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the steps of each worker, the same in ascending order, and the sums of the first 0, 1, 2, ... of these."""
    counts = np.array(plan, np.int64)
    ascending = np.sort(counts)
    return counts, ascending, np.concatenate([np.zeros(1, np.int64), np.cumsum(ascending)])
