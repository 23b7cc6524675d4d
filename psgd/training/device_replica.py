"""Holds the replica on the devices of the processes, where they all have one: it is combined and scored there. In the
host's memory, each process has a copy of its own, the mirror, which is brought up to date when it is read."""

import zlib
from collections.abc import Sequence
from typing import Any, final

import numpy as np

from psgd.backends.device_workers import DeviceWorkers
from psgd.core.errors import UsageError
from psgd.core.log import LOG
from psgd.core.replica import Replica, Replicas, digested
from psgd.data.dataset import Examples
from psgd.group.group import Group
from psgd.strategy.applications import GradientStep, Replace
from psgd.strategy.strategy import Strategy
from psgd.training.job import Job
from psgd.training.steps.device_steps import DeviceSteps


def connect_devices(device: DeviceWorkers, group: Group) -> bool:
    """Collective, after the devices have made room for their workers: connect them. If one cannot reach the memory of
    another, warn and return False: the host must combine."""
    members, reason = group.transport.members, ""
    shared = group.all_gather(device.share())
    try:
        device.connect(shared, members.index(group.transport.process))
    except UsageError as error:
        reason = str(error)
        LOG.warning("psgd: warning: %s: combinations are made on the CPU, which takes longer", reason)
    return all(row == b"y" for row in group.all_gather(b"n" if reason else b"y"))


def can_combine(strategy: Strategy) -> bool:
    """Whether a DeviceReplica knows how the strategy is applied."""
    return isinstance(strategy.application, GradientStep | Replace)


@final
class DeviceReplica:
    """Combinations, scores and digests of the replica on this process's device. All processes are on one host."""

    def __init__(self, job: Job, group: Group, steps: DeviceSteps) -> None:
        """After `connect_devices`."""
        self._steps, self._barrier = steps, group.transport.barrier
        application = job.strategy.application
        self._optimizer = application.optimizer if isinstance(application, GradientStep) else None
        self._parts = {id(part): name for name, part in job.data.scored.items()}
        self._processes = len(group.transport.members)
        self._dtype, self._size = job.learner.dtype, job.learner.size
        rows = 1 + job.strategy.needs.state_rows
        self._vectors = np.zeros((rows, self._size), self._dtype)  # the mirror
        self._newer = False  # whether the device's replica is newer
        self._digested: np.ndarray  # the part that a digest covers
        self._digested_round = -1
        steps.host_combines = False

    def replicas(self) -> Replicas:
        """The replica, seen through the mirror and not through the memory that the processes of this host share."""
        return Replicas(_Mirror(self._vectors, self), _Mirror(self._vectors, self))

    def combine(self, weights: np.ndarray, old: Replica, new: Replica, epoch: float) -> None:
        """Collective: as strategy/applications.py, from the contributions on the devices."""
        factors = weights.astype(self._dtype)
        self._steps.queue(lambda device: device.reduce(factors))
        if self._processes > 1:  # each has written to the replicas of all
            self._steps.wait()
            self._barrier()
        if self._optimizer:
            step = self._optimizer.factors(old.progress.steps + 1, epoch)
            self._steps.queue(lambda device: device.apply(step))
        self._newer = True
        self._read_digested(old.progress.round + 1)

    def score(self, replica: Replica, dataset: Examples, chunks: Sequence[slice]) -> np.ndarray:
        table, part = np.empty((len(chunks), 2)), self._parts[id(dataset)]
        self._steps.upload(replica)
        self._steps.queue(lambda device: device.score(part, chunks, table))
        self._steps.wait()
        return table

    def bring_up_to_date(self) -> None:
        """Copy the replica to the mirror, if it is newer."""
        if self._newer:
            self._steps.queue(lambda device: device.get_replica(self._vectors))
            self._steps.wait()
            self._newer = False

    def digest(self, replica: "_Mirror") -> int:
        """See Replica.digest. The part that it covers came with the last segment, if there was a combination before."""
        if self._digested_round < 0:  # none yet
            return Replica.digest(replica)
        if self._digested_round != replica.progress.round:  # the last round ended without a combination
            self._read_digested(replica.progress.round)
        self._steps.wait()
        return zlib.crc32(self._digested.data)

    def _read_digested(self, round: int) -> None:
        part, self._digested_round = digested(round, self._size), round
        self._digested = self._steps.queue(lambda device: device.get_parameters(part))


def _mirrored(name: str) -> Any:
    """An attribute that is brought up to date before it is read."""

    def read(self: "_Mirror") -> Any:
        self.on_device.bring_up_to_date()
        return self.__dict__[name]

    def write(self: "_Mirror", value: Any) -> None:
        self.__dict__[name] = value

    return property(read, write)


@final
class _Mirror(Replica):
    vectors, parameters, state = _mirrored("vectors"), _mirrored("parameters"), _mirrored("state")

    def __init__(self, vectors: np.ndarray, on_device: DeviceReplica) -> None:
        self.on_device = on_device
        super().__init__(vectors)

    def digest(self) -> int:
        return self.on_device.digest(self)
