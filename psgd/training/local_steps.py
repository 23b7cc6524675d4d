"""The workers that this process hosts, and their legs: local work of at most about a second between two meetings."""

import math
import time
from collections.abc import Callable, Sequence
from typing import final

import numpy as np

from psgd.core.replica import Replica
from psgd.core.worker_state import WorkerState
from psgd.group.group import Group
from psgd.group.reports import Report
from psgd.training.batches import Batches
from psgd.training.job import Job

Stint = Callable[[int], int]  # steps wanted -> steps to take now


@final
class StepBudget:
    """As many steps as take about `seconds`. It changes where a round is cut, which changes no bit."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._pace = 0.0  # seconds a step

    def __call__(self, wanted: int) -> int:
        return min(wanted, max(1, int(self._seconds / self._pace)) if self._pace else 4)

    def took(self, steps: int, seconds: float) -> None:
        self._pace = max(seconds / steps, 1e-9)


@final
class LocalSteps:
    def __init__(self, job: Job, group: Group, segment_seconds: float) -> None:
        self._job, self._group = job, group
        self._batches = Batches(job.data.train, job.batch, job.outputs, job.learner.dtype, job.backend)
        self._gradient = np.empty(job.learner.size, job.learner.dtype)
        self._segment_seconds = segment_seconds
        self.workers: dict[int, WorkerState] = {}
        self.host()

    def host(self) -> None:
        """Take on the workers that the group gives this process; a new one begins the round anew."""
        rows = self._job.strategy.needs.moment_rows
        for number in self._group.hosted:
            if number not in self.workers:
                self.workers[number] = WorkerState(number, self._group.contribution(number), rows, self._gradient)
        self._stint = StepBudget(self._segment_seconds / max(1, len(self.workers)))

    def restart(self) -> None:
        """All to the start of their round."""
        for worker in self.workers.values():
            worker.restart()

    def forget(self, workers: Sequence[int] | None = None) -> None:
        """Those of `workers` that are hosted here, or all that are, to workers that never worked."""
        for number, worker in self.workers.items():
            if workers is None or number in workers:
                worker.restart()
                worker.forget()

    def run(self, replica: Replica, plan: np.ndarray) -> list[Report]:
        """A leg of every hosted worker -> their reports."""
        reports = []
        for worker in self.workers.values():
            began, planned = time.perf_counter(), int(plan[worker.number])
            if wanted := planned - worker.steps_done:
                self._leg(replica, worker, plan, min(wanted, self._whole(self._stint(wanted))))
            bad = self._bad(worker, worker.steps_done == planned) if worker.steps_done else -1
            reports.append(Report(worker.number, worker.steps_done, worker.loss, bad, time.perf_counter() - began))
        return reports

    def _whole(self, steps: int) -> int:
        """So many steps or a few more: a leg begins, and so ends, after a multiple of the stride, or with the round."""
        return -(-steps // self._job.stride) * self._job.stride

    def _leg(self, replica: Replica, worker: WorkerState, plan: np.ndarray, steps: int) -> None:
        began = time.perf_counter()
        hands = self._job.sampler.batches(worker.number, plan, worker.steps_done, steps, replica.progress)
        self._job.strategy.local(replica, worker, self._job.learner, self._batches.of(hands), steps)
        worker.steps_done += steps
        worker.loss += self._job.learner.read_loss()
        self._stint.took(steps, time.perf_counter() - began)

    def _bad(self, worker: WorkerState, at_end: bool) -> int:
        """Where the worker's state is not finite, the number of parameters if only the loss is not; -1 if all is.

        One dot product: what is so large that its square overflows counts as not finite, since it would make the
        optimizer's state so. At the end of a round the optimizer's state is looked at too."""
        row = worker.vector
        if not math.isfinite(np.dot(row, row)):
            return _largest(row)
        for moments in (*worker.moments, *worker.contribution[1:]) if at_end else ():
            if not math.isfinite(moments.sum()):
                return _largest(moments)
        return -1 if math.isfinite(worker.loss) else row.size


def _largest(row: np.ndarray) -> int:
    """Index of the first element that is not finite, or else of the largest."""
    bad = np.flatnonzero(~np.isfinite(row))
    return int(bad[0]) if bad.size else int(np.argmax(np.abs(row)))
