"""What a strategy is. It sees workers, steps and vectors: no group, no clock, no process, no file."""

from collections.abc import Iterable
from typing import NamedTuple, Protocol

import numpy as np

from psgd.core.replica import Progress, Replica
from psgd.core.worker_state import WorkerState
from psgd.group.reports import WorkDone
from psgd.learners.learner import Batch, Learner


class VectorNeeds(NamedTuple):
    """What a strategy asks of those who hold its vectors."""

    state_rows: int = 0  # of the replica, beside the parameters
    contribution_rows: int = 1  # C: vectors that one worker brings to a combination
    moment_rows: int = 0  # of a worker's private moments
    keeps_worker_state: bool = False  # private state outlives the round: it must be saved, and is lost with its process
    norm: bool = False  # `apply` wants the squared norm of the whole fold


class Strategy(Protocol):
    """Implementations are final, frozen dataclasses: they compare, print and pickle."""

    @property
    def needs(self) -> VectorNeeds: ...

    def plan(self, round: int) -> np.ndarray:
        """Steps that each worker is dealt in this round: (workers,) int64."""
        ...

    def local(
        self, replica: Replica, worker: WorkerState, learner: Learner, batches: Iterable[Batch], steps: int
    ) -> None:
        """Take `steps` steps, one a batch; what has been done this round is in `worker`. Leaves the contribution in
        `worker.contribution`."""
        ...

    def weights(self, progress: Progress, work: WorkDone) -> np.ndarray:
        """(candidates, workers), each row summing to 1 and 0 where nothing was done. Somebody worked. Of several
        candidates the one that scores best on validation data is taken, ties to the first."""
        ...

    def apply(self, old: Replica, new: Replica, epoch: float, reduced: np.ndarray, where: slice, norm: float) -> None:
        """Write the slice `where` of `new` from `old` and the fold (C, n) of the contributions, which may be
        destroyed. Elementwise; `epoch` is the middle of the round, `norm` the whole fold's squared norm, or nan."""
        ...
