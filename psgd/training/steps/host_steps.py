"""The local steps of the workers of a process on its CPU core, one worker after the other."""

from collections.abc import Iterable
from typing import final

from psgd.core.clock import Clock
from psgd.core.replica import Replica
from psgd.core.worker_state import WorkerState
from psgd.group.reports import Report
from psgd.training.finite import first_nonfinite
from psgd.training.job import Job
from psgd.training.steps.batches import BatchReader, StepCounts
from psgd.training.steps.step_budget import StepBudget


@final
class HostSteps:
    def __init__(self, job: Job, clock: Clock, segment_seconds: float) -> None:
        self._job, self._clock, self._segment_seconds = job, clock, segment_seconds
        self._reader = BatchReader(job.data.train, job.sampler, job.outputs, job.learner.dtype, job.end, job.backend)
        self.host(())

    def host(self, workers: Iterable[WorkerState]) -> None:
        self._workers = list(workers)
        self._budget = StepBudget(self._segment_seconds / max(1, len(self._workers)))

    # Nothing to do: all vectors are in the memory that this class works on.

    def changed(self, workers: Iterable[WorkerState]) -> None: ...

    def replica_changed(self) -> None: ...

    def end_round(self) -> None: ...

    def fetch(self) -> None: ...

    def run(self, replica: Replica, plan: StepCounts) -> list[Report]:
        return [self._run_worker(replica, plan, worker) for worker in self._workers]

    def _run_worker(self, replica: Replica, plan: StepCounts, worker: WorkerState) -> Report:
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
        index = first_nonfinite(worker, worker.steps_done == planned) if worker.steps_done else -1
        return Report(worker.number, worker.steps_done, worker.loss, index, seconds)
