"""The workers that this process hosts, and their local steps, in segments of about a second between two exchanges."""

from collections.abc import Iterable, Sequence
from typing import Protocol, final

import numpy as np

from psgd.core.clock import Clock
from psgd.core.replica import Replica
from psgd.core.worker_state import WorkerState
from psgd.group.group import Group
from psgd.group.reports import Report
from psgd.training.device_replica import DeviceReplica, connect_devices
from psgd.training.job import Job
from psgd.training.replica_holder import HostReplica, ReplicaHolder
from psgd.training.steps.batches import StepCounts
from psgd.training.steps.device_steps import DeviceSteps
from psgd.training.steps.host_steps import HostSteps


class _Steps(Protocol):
    """The role of HostSteps and DeviceSteps, which take the steps of this process's workers."""

    def host(self, workers: Iterable[WorkerState]) -> None:
        """Take on these workers, with those that are there already."""
        ...

    def run(self, replica: Replica, plan: StepCounts) -> list[Report]:
        """A segment of every worker, and its reports. Exceptions get a note that says where, and in which round."""
        ...

    def changed(self, workers: Iterable[WorkerState]) -> None:
        """The vectors of these workers were changed in the host's memory."""
        ...

    def replica_changed(self) -> None:
        """The replica was changed in the host's memory."""
        ...

    def end_round(self) -> None:
        """A round is over, with a combination or without."""
        ...

    def fetch(self) -> None:
        """Bring the vectors of all workers up to date in the host's memory."""
        ...


@final
class LocalSteps:
    def __init__(self, job: Job, group: Group, clock: Clock, segment_seconds: float) -> None:
        self._job, self._group = job, group
        self._gradient = np.empty(job.learner.size, job.learner.dtype)
        self.workers: dict[int, WorkerState] = {}
        device, devices_combine = job.device, job.combines_on_devices and not group.transport.recovers
        on_device = DeviceSteps(job, device, clock, segment_seconds) if device else None
        self._steps: _Steps = on_device or HostSteps(job, clock, segment_seconds)
        self.host_workers()
        self.holder: ReplicaHolder
        if on_device and device and devices_combine and connect_devices(device, group):
            self.holder = DeviceReplica(job, group, on_device)
        else:
            self.holder = HostReplica(job, group)

    def host_workers(self) -> None:
        """Take on the workers that the group gives this process; a new one starts the round afresh."""
        rows = self._job.strategy.needs.moment_rows
        for number in self._group.hosted:
            if number not in self.workers:
                self.workers[number] = WorkerState(number, self._group.contribution(number), rows, self._gradient)
        self._steps.host(self.workers.values())

    def restart_round(self) -> None:
        for worker in self.workers.values():
            worker.restart_round()
        self._steps.end_round()

    def reset(self, workers: Sequence[int] | None = None) -> None:
        """Make hosted workers (those in `workers`, or all) as if they had never worked."""
        chosen = [worker for number, worker in self.workers.items() if workers is None or number in workers]
        for worker in chosen:
            worker.restart_round()
            worker.reset_moments()
        self._steps.changed(chosen)
        if workers is None:
            self._steps.replica_changed()

    def fetch(self) -> None:
        """Bring the vectors of all workers up to date; they may be on a device."""
        self._steps.fetch()

    def restored(self) -> None:
        """All workers were read from a checkpoint, and the replica too."""
        self._steps.changed(self.workers.values())
        self._steps.replica_changed()

    def run(self, replica: Replica, plan: StepCounts) -> list[Report]:
        """A segment of every hosted worker, and its reports. Exceptions get a note that names worker and round."""
        return self._steps.run(replica, plan)
