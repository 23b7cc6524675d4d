"""The workers that this process hosts, and their local steps, in segments of about a second between two exchanges."""

from collections.abc import Sequence
from typing import final

import numpy as np

from psgd.core.clock import Clock
from psgd.core.replica import Replica
from psgd.core.worker_state import WorkerState
from psgd.group.group import Group
from psgd.group.reports import Report
from psgd.training.batches import BatchReader, Plan
from psgd.training.device_replica import DeviceReplica, connected
from psgd.training.device_steps import DeviceSteps
from psgd.training.finite import first_nonfinite
from psgd.training.job import Job
from psgd.training.step_budget import StepBudget


@final
class LocalSteps:
    def __init__(self, job: Job, group: Group, clock: Clock, segment_seconds: float) -> None:
        self._job, self._group, self._clock = job, group, clock
        self._reader = BatchReader(job.data.train, job.sampler, job.outputs, job.learner.dtype, job.end, job.backend)
        self._gradient = np.empty(job.learner.size, job.learner.dtype)
        self._segment_seconds = segment_seconds
        self.workers: dict[int, WorkerState] = {}
        self._device = DeviceSteps(job, job.device, clock, StepBudget(segment_seconds)) if job.device else None
        self.host_workers()
        self.on_device: DeviceReplica | None = None
        if job.device and self._device and job.combines_on_devices and not group.transport.recovers:
            self.on_device = DeviceReplica(job, group, self._device) if connected(job.device, group) else None

    def host_workers(self) -> None:
        """Take on the workers that the group gives this process; a new one starts the round afresh."""
        rows = self._job.strategy.needs.moment_rows
        for number in self._group.hosted:
            if number not in self.workers:
                self.workers[number] = WorkerState(number, self._group.contribution(number), rows, self._gradient)
        self._budget = StepBudget(self._segment_seconds / max(1, len(self.workers)))
        if self._device:
            self._device.host(self.workers.values())

    def restart_round(self) -> None:
        for worker in self.workers.values():
            worker.restart_round()
        if self._device and not self.on_device:
            self._device.replica_changed()

    def reset(self, workers: Sequence[int] | None = None) -> None:
        """Make hosted workers (those in `workers`, or all) as if they had never worked."""
        chosen = [worker for number, worker in self.workers.items() if workers is None or number in workers]
        for worker in chosen:
            worker.restart_round()
            worker.reset_moments()
        if self._device:
            self._device.changed(chosen)
            if workers is None:
                self._device.replica_changed()

    def fetch(self) -> None:
        """Bring the vectors of all workers up to date; they may be on a device."""
        if self._device:
            self._device.fetch()

    def restored(self) -> None:
        """All workers were read from a checkpoint, and the replica too."""
        if self._device:
            self._device.changed(self.workers.values())
            self._device.replica_changed()

    def run(self, replica: Replica, plan: Plan) -> list[Report]:
        """A segment of every hosted worker, and its reports. Exceptions get a note that names worker and round."""
        if self._device:
            return self._device.run(replica, plan)
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
        index = first_nonfinite(worker, worker.steps_done == planned) if worker.steps_done else -1
        return Report(worker.number, worker.steps_done, worker.loss, index, seconds)
