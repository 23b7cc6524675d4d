"""The holder of the replica combines and scores it where it lies: in the host's memory, or on a device."""

from collections.abc import Sequence
from typing import Protocol, final

import numpy as np

from psgd.core.blocks import ApplyBlock
from psgd.core.replica import Replica, Replicas
from psgd.data.dataset import Examples, Reader
from psgd.group.group import Group
from psgd.training.job import Job

CHUNK_EXAMPLES = 1000  # scored at once; fixed: the bits of a product depend on its shape


class ReplicaHolder(Protocol):
    def replicas(self) -> Replicas:
        """The replica, as this process sees it."""
        ...

    def combine(self, weights: np.ndarray, old: Replica, new: Replica, epoch: float) -> None:
        """Collective: make `new` from `old` and the contributions by `weights` (workers,)."""
        ...

    def score(self, replica: Replica, dataset: Examples, chunks: Sequence[slice]) -> np.ndarray:
        """(chunks, 2): sum of the losses and number of right answers of these rows of a part of the job's data."""
        ...


@final
class HostReplica:
    """The replica in the memory that the processes of a host share."""

    def __init__(self, job: Job, group: Group) -> None:
        self._group, self._strategy = group, job.strategy
        self._learner, self._outputs = job.learner, job.outputs
        self._readers: dict[int, Reader] = {}  # by id of the data set

    def replicas(self) -> Replicas:
        return Replicas(*map(Replica, self._group.replicas))

    def combine(self, weights: np.ndarray, old: Replica, new: Replica, epoch: float) -> None:
        strategy = self._strategy

        def begin(squared_norm: float) -> ApplyBlock:
            return strategy.application.begin(old, new, epoch, squared_norm)

        self._group.combine(weights, begin, strategy.needs.norm)

    def score(self, replica: Replica, dataset: Examples, chunks: Sequence[slice]) -> np.ndarray:
        read = self._reader(dataset)
        return np.array([self._learner.score(replica.parameters, *read(rows)) for rows in chunks])

    def _reader(self, dataset: Examples) -> Reader:
        if id(dataset) not in self._readers:
            self._readers[id(dataset)] = dataset.reader(CHUNK_EXAMPLES, self._outputs, self._learner.dtype)
        return self._readers[id(dataset)]
