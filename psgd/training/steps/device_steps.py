"""The local steps of all workers of a process, side by side on a device.

A worker's counts and its loss are always in its WorkerState. Its vectors are on the device; those of the WorkerState
are copies in the host's memory: up to date after `fetch`, and the contribution also at the end of each round if the
host combines.
"""

from collections.abc import Callable, Iterable, Sequence
from typing import TypeVar, final

import numpy as np

from psgd.backends.device_workers import DeviceWorkers, Segment, SegmentInputs
from psgd.core.clock import Clock
from psgd.core.replica import Replica
from psgd.core.worker_state import WorkerState
from psgd.group.reports import Report
from psgd.training.finite import first_nonfinite
from psgd.training.job import Job
from psgd.training.steps.batches import StepCounts
from psgd.training.steps.step_budget import StepBudget

T = TypeVar("T")


@final
class DeviceSteps:
    def __init__(self, job: Job, device: DeviceWorkers, clock: Clock, segment_seconds: float) -> None:
        self._job, self._device, self._clock, self._budget = job, device, clock, StepBudget(segment_seconds)
        local = job.strategy.local
        self._optimizer, self._optimizer_state = local.optimizer, local.optimizer_state
        self._workers: list[WorkerState] = []
        self._segment_inputs: SegmentInputs
        self._epochs: np.ndarray  # (S, W): of the batches of a segment
        self._replica_changed = True
        self._changed: set[int] = set()  # workers whose vectors are newer here than on the device
        self._first_nonfinite: dict[int, int] = {}  # of each worker that has taken steps in this round
        self.host_combines = True  # whether contributions are combined here; otherwise they stay on the device
        self._queued = False  # whether other work than steps was queued that was not waited for

    def host(self, workers: Iterable[WorkerState]) -> None:
        """Take on these workers, with those that are there already."""
        self.fetch()
        self._workers = list(workers)
        if self._workers:
            self._segment_inputs = self._device.host(len(self._workers))
            self._segment_inputs.factors[:] = 0.0
            self._epochs = np.zeros(self._segment_inputs.rows.shape[:2])
        self.changed(self._workers)
        self.replica_changed()

    def replica_changed(self) -> None:
        """The replica was changed here, and is newer than the one on the device."""
        self._replica_changed = True

    def end_round(self) -> None:
        """A round is over, with a combination or without."""
        self._replica_changed |= self.host_combines

    def changed(self, workers: Iterable[WorkerState]) -> None:
        """The vectors of these workers were changed here."""
        for worker in workers:
            self._changed.add(worker.number)
            if worker.steps_done:
                self._first_nonfinite[worker.number] = first_nonfinite(worker, at_end=True)

    def fetch(self) -> None:
        """Bring the vectors of all workers up to date."""
        newer = [slot for slot, worker in enumerate(self._workers) if worker.number not in self._changed]
        for slot in newer:
            worker = self._workers[slot]
            self._device.get_worker(slot, worker.contribution if worker.steps_done else None, worker.moments)
        if newer:
            self._device.wait()

    def queue(self, work: Callable[[DeviceWorkers], T]) -> T:
        """Ask the device for other work than steps, to be waited for."""
        self._queued = True
        return work(self._device)

    def wait(self) -> None:
        """Wait for what was queued, unless a segment did."""
        if self._queued:
            self._device.wait()
            self._queued = False

    def upload(self, replica: Replica) -> None:
        """Queue copies of what is newer here: the replica, and vectors of workers."""
        if self._replica_changed:
            self._device.set_replica(replica.vectors)
        for slot, worker in enumerate(self._workers):
            if worker.number in self._changed:
                self._device.set_worker(slot, worker.contribution if worker.steps_done else None, worker.moments)
        self._queued |= self._replica_changed or bool(self._changed)
        self._replica_changed = False
        self._changed.clear()

    def run(self, replica: Replica, plan: StepCounts) -> list[Report]:
        """A segment of every worker, and its reports. Exceptions get a note that names device and round."""
        began = self._clock()
        wanted = [plan[worker.number] - worker.steps_done for worker in self._workers]
        if most := max(wanted, default=0):
            steps = min(self._budget.steps(most), len(self._segment_inputs.rows))
            try:
                self._take(replica, plan, [min(count, steps) for count in wanted], steps)
            except Exception as failure:
                failure.add_note(f"{self._job.caller}: on {self._device.name}, round {replica.progress.round}")
                raise
            self._budget.took(steps, self._clock() - began)
        elif self._workers:  # other processes may read what they have after the exchange of reports
            self.upload(replica)
            self.wait()
        seconds = self._clock() - began
        return [self._report(worker, seconds) for worker in self._workers]

    def _take(self, replica: Replica, plan: StepCounts, limits: list[int], steps: int) -> None:
        """Worker number i of this process takes the next limits[i] steps of its round, at most `steps`."""
        self.upload(replica)
        self._start(
            [slot for slot, limit in enumerate(limits) if limit and not self._workers[slot].steps_done], replica
        )
        self._fill_segment_inputs(replica, plan, limits, steps)
        ends = [
            limit > 0 and worker.steps_done + limit == plan[worker.number]
            for worker, limit in zip(self._workers, limits, strict=True)
        ]
        self._device.run(steps, ends)
        self._draw_ahead(replica, plan, limits, steps)  # while the device works
        for slot, worker in enumerate(self._workers):  # only now: a GPU copies to this memory while the host waits
            if ends[slot] and self.host_combines:
                self._device.get_worker(slot, worker.contribution, None)
        segment = self._device.finish()
        self._queued = False
        if not self._optimizer:  # finished gradients, of workers that waited for others, remain here only
            waited = zip(self._workers, limits, strict=True)
            self._changed.update(worker.number for worker, limit in waited if worker.steps_done and not limit)
        self._count(limits, segment)

    def _start(self, fresh: Sequence[int], replica: Replica) -> None:
        """Begin the round of these slots as strategy/local_work.py does."""
        if not self._optimizer or not fresh:
            return
        for slot in fresh:
            if self._optimizer_state == "reset":
                self._workers[slot].moment_steps = 0
            elif self._optimizer_state == "average":
                self._workers[slot].moment_steps = replica.progress.steps
        self._device.start(fresh, zero_moments=self._optimizer_state == "reset")

    def _fill_segment_inputs(self, replica: Replica, plan: StepCounts, limits: list[int], steps: int) -> None:
        """Write the rows, and the factors of the rule, of each step of each worker."""
        workers, (rows, factors, of_slots) = self._workers, self._segment_inputs
        of_slots[:] = limits
        numbers, done = [worker.number for worker in workers], [worker.steps_done for worker in workers]
        self._job.sampler.fill(numbers, plan, done, limits, replica.progress, rows, self._epochs)
        if self._optimizer:
            before = sorted({worker.moment_steps for worker in workers})
            if len(before) > 1:  # otherwise one column is broadcast
                before = [worker.moment_steps for worker in workers]
            counts = np.array(before) + np.arange(1, steps + 1)[:, None]
            self._optimizer.tabulate(counts, self._epochs[:steps], factors[:steps])

    def _draw_ahead(self, replica: Replica, plan: StepCounts, limits: list[int], steps: int) -> None:
        """Draw the rows of the next segment, which may be in the next round."""
        numbers = [worker.number for worker in self._workers]
        taken = [worker.steps_done + limit for worker, limit in zip(self._workers, limits, strict=True)]
        left = max(plan[number] - count for number, count in zip(numbers, taken, strict=True)) or max(plan)
        most = min(left, self._budget.following(steps), len(self._segment_inputs.rows))
        self._job.sampler.draw_ahead(numbers, plan, taken, most, replica.progress)

    def _count(self, limits: list[int], segment: Segment) -> None:
        losses, first = segment.loss.tolist(), segment.first_nonfinite.tolist()
        for slot, worker in enumerate(self._workers):
            if limits[slot]:
                worker.steps_done += limits[slot]
                worker.moment_steps += limits[slot] if self._optimizer else 0
                worker.loss += losses[slot]
                self._first_nonfinite[worker.number] = first[slot]

    def _report(self, worker: WorkerState, seconds: float) -> Report:
        index = self._first_nonfinite[worker.number] if worker.steps_done else -1
        if index < 0 and not np.isfinite(worker.loss):
            index = worker.vector.size  # only the loss
        return Report(worker.number, worker.steps_done, worker.loss, index, seconds)
