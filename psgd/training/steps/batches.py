"""From batches of row numbers to batches of examples: rows are gathered, small batches several at a time."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import islice
from typing import final

import numpy as np

from psgd.backends.backend import Backend
from psgd.backends.numpy.backend import NUMPY
from psgd.core.replica import Progress
from psgd.data.dataset import Examples, Reader
from psgd.data.sampling.sampler import ROWS_AHEAD, IndexBatch, Sampler
from psgd.learners.learner import Batch

StepCounts = tuple[int, ...]  # steps of each worker in a round


@final
@dataclass
class _Ahead:
    """Batches of one worker that were gathered for the next rounds, all of the same plan."""

    read: Reader
    plan: StepCounts = ()
    start: int = 0  # position of the first of these rounds
    end: int = 0  # position after the last
    dealt: int = 0  # steps dealt to the worker before the first
    batches: list[Batch] = field(default_factory=list)


@final
class BatchReader:
    """Gathers batches of `data` as `sampler` deals them, into buffers that later batches overwrite."""

    def __init__(
        self, data: Examples, sampler: Sampler, outputs: int, dtype: np.dtype, end: int, backend: Backend = NUMPY
    ) -> None:
        """`outputs`: columns of the targets. `end`: the position at which training ends."""
        self._data, self._sampler, self._outputs, self._dtype, self._end = data, sampler, outputs, dtype, end
        self._backend = backend
        self._per_read = data.batches_per_read(sampler.batch)
        self._read = self._reader()
        self._ahead: dict[int, _Ahead] = {}  # by worker
        self._plan: StepCounts = ()
        self._ahead_pays = False  # whether rounds of that plan are worth gathering ahead

    def batches(self, worker: int, plan: StepCounts, first: int, steps: int, progress: Progress) -> Iterable[Batch]:
        """The worker's batches `first` ... of the round that begins at `progress`."""
        if plan is not self._plan:
            self._plan, self._ahead_pays = plan, 2 * plan[0] <= self._per_read and min(plan) == max(plan)
        if self._ahead_pays:
            return self._from_ahead(worker, plan, first, steps, progress)
        return self.gathered(self._sampler.batches(worker, plan, first, steps, progress))

    def gathered(self, index_batches: Iterable[IndexBatch]) -> Iterator[Batch]:
        """The batches of examples. Each is overwritten by a later one."""
        index_batches = iter(index_batches)
        while block := list(islice(index_batches, self._per_read)):
            yield from self._gather(self._read, block)

    def _from_ahead(self, worker: int, plan: StepCounts, first: int, steps: int, progress: Progress) -> list[Batch]:
        """Rounds of a few small batches: those of the next rounds are gathered by the same call. If all workers take p
        steps a round, k rounds deal each worker the batches that a single round of k p steps would."""
        ahead = self._ahead.get(worker) or self._ahead.setdefault(worker, _Ahead(self._reader()))
        period, position = plan[0], progress.position
        turn = period * len(plan) * self._sampler.batch
        dealt = progress.dealt[worker] if progress.dealt else 0
        since, rest = divmod(position - ahead.start, turn)  # rounds
        # Rounds of another plan may have come between, in which the worker took more or fewer steps than in these.
        if (
            ahead.plan != plan
            or not ahead.start <= position < ahead.end
            or rest
            or dealt != ahead.dealt + since * period
        ):
            left = max(1, -(-(self._end - position) // turn))
            rounds = max(1, min(self._per_read // period, left, max(self._sampler.examples, ROWS_AHEAD) // turn))
            longer = (rounds * period,) * len(plan)
            ahead.batches = self._gather(ahead.read, [*self._sampler.batches(worker, longer, 0, longer[0], progress)])
            ahead.plan, ahead.start, ahead.end, ahead.dealt = plan, position, position + rounds * turn, dealt
            since = 0
        start = since * period + first
        return ahead.batches[start : start + steps]

    def _gather(self, read: Reader, block: list[IndexBatch]) -> list[Batch]:
        if len(block) == 1:  # sparse rows, of which batches_per_read is 1, cannot be cut into batches
            rows, epoch = block[0]
            return [Batch(*read(rows), epoch)]
        both = read(np.concatenate([rows for rows, _ in block]))
        X, T = (part.reshape(len(block), self._sampler.batch, -1) for part in both)
        return [Batch(X_BI, T_BO, epoch) for X_BI, T_BO, (_, epoch) in zip(X, T, block, strict=True)]

    def _reader(self) -> Reader:
        return self._data.reader(self._sampler.batch * self._per_read, self._outputs, self._dtype, self._backend)
