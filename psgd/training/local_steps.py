"""The workers that this process hosts, and their local steps, in segments of about a second between two exchanges."""

import math
from collections.abc import Sequence
from typing import final

import numpy as np

from psgd.core.clock import Clock
from psgd.core.replica import Replica
from psgd.core.worker_state import WorkerState
from psgd.group.group import Group
from psgd.group.reports import Report
from psgd.training.batches import BatchReader, Plan
from psgd.training.job import Job

FIRST_SEGMENT_STEPS = 4  # before it is known how long a step takes


@final
class StepBudget:
    """How many steps take about `seconds`. It decides where a round is cut into segments, which changes no bit."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._step_seconds = 0.0

    def steps(self, wanted: int) -> int:
        allowed = max(1, int(self._seconds / self._step_seconds)) if self._step_seconds else FIRST_SEGMENT_STEPS
        return min(wanted, allowed)

    def took(self, steps: int, seconds: float) -> None:
        self._step_seconds = max(seconds / steps, 1e-9)


@final
class LocalSteps:
    def __init__(self, job: Job, group: Group, clock: Clock, segment_seconds: float) -> None:
        self._job, self._group, self._clock = job, group, clock
        self._reader = BatchReader(job.data.train, job.sampler, job.outputs, job.learner.dtype, job.end, job.backend)
        self._gradient = np.empty(job.learner.size, job.learner.dtype)
        self._segment_seconds = segment_seconds
        self.workers: dict[int, WorkerState] = {}
        self.host_workers()

    def host_workers(self) -> None:
        """Take on the workers that the group gives this process; a new one starts the round afresh."""
        rows = self._job.strategy.needs.moment_rows
        for number in self._group.hosted:
            if number not in self.workers:
                self.workers[number] = WorkerState(number, self._group.contribution(number), rows, self._gradient)
        self._budget = StepBudget(self._segment_seconds / max(1, len(self.workers)))

    def restart_round(self) -> None:
        for worker in self.workers.values():
            worker.restart_round()

    def reset(self, workers: Sequence[int] | None = None) -> None:
        """Make hosted workers (those in `workers`, or all) as if they had never worked."""
        for number, worker in self.workers.items():
            if workers is None or number in workers:
                worker.restart_round()
                worker.reset_moments()

    def run(self, replica: Replica, plan: Plan) -> list[Report]:
        """A segment of every hosted worker, and its reports. Exceptions get a note that names worker and round."""
        return [self._run_worker(replica, plan, worker) for worker in self.workers.values()]

    def _run_worker(self, replica: Replica, plan: Plan, worker: WorkerState) -> Report:
        job, began, planned, seconds = self._job, self._clock(), plan[worker.number], 0.0
        if wanted := planned - worker.steps_done:
            steps = self._budget.steps(wanted)
            if job.stride > 1:  # a segment starts, and so ends, at a multiple of the stride, or with the round
                steps = min(wanted, -(-steps // job.stride) * job.stride)
            batches = self._reader.batches(worker.number, plan, worker.steps_done, steps, replica.progress)
            try:
                job.strategy.local.run(replica, worker, job.learner, batches, steps)
            except Exception as failure:
                failure.add_note(f"{job.caller}: in worker {worker.number}, round {replica.progress.round}")
                raise
            worker.steps_done += steps
            worker.loss += job.learner.read_loss()
            seconds = self._clock() - began
            self._budget.took(steps, seconds)
        index = _first_nonfinite(worker, worker.steps_done == planned) if worker.steps_done else -1
        return Report(worker.number, worker.steps_done, worker.loss, index, seconds)


def _first_nonfinite(worker: WorkerState, at_end: bool) -> int:
    """The index in the worker's vector that is not finite, the number of parameters if only the loss is not finite, or
    -1. At the end of a round the optimizer's vectors are checked too.

    The check is one dot product: an element so large that its square overflows counts as not finite, since it would
    make the optimizer's state so."""
    vector = worker.vector
    if not math.isfinite(vector.dot(vector)):
        return _largest(vector)
    if at_end:
        for moments in worker.optimizer_vectors:
            if not math.isfinite(moments.sum()):
                return _largest(moments)
    return -1 if math.isfinite(worker.loss) else vector.size


def _largest(vector: np.ndarray) -> int:
    """The index of the first element that is not finite, or else of the largest."""
    bad = np.flatnonzero(~np.isfinite(vector))
    return int(bad[0]) if bad.size else int(np.argmax(np.abs(vector)))
