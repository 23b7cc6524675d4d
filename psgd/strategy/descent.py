"""The local part of both averaging strategies: steps of the optimizer on the worker's own parameters."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal, final

import numpy as np

from psgd.core.replica import Replica
from psgd.core.worker_state import WorkerState
from psgd.learners.learner import Batch, Learner
from psgd.optimizers.optimizer import Optimizer
from psgd.strategy.strategy import VectorNeeds


@final
@dataclass(frozen=True)
class Descent:
    """`state` is what becomes of the optimizer's moments at a combination: each worker keeps its own, all take the
    average of them, or all begin anew."""

    optimizer: Optimizer
    state: Literal["keep", "average", "reset"]

    @property
    def needs(self) -> VectorNeeds:
        rows = self.optimizer.rows
        if self.state == "average":
            return VectorNeeds(state_rows=rows, contribution_rows=1 + rows)
        return VectorNeeds(moment_rows=rows, keeps_worker_state=self.state == "keep" and rows > 0)

    def local(
        self, replica: Replica, worker: WorkerState, learner: Learner, batches: Iterable[Batch], steps: int
    ) -> None:
        """From the replica at the start of a round; the worker's parameters are its contribution all along."""
        if worker.steps_done == 0:
            worker.contribution[:] = replica.vectors
            if self.state == "reset":
                worker.forget()
            elif self.state == "average":
                worker.count = replica.progress.steps
        moments = worker.contribution[1:] if self.state == "average" else worker.moments
        learner.run(worker.vector, moments, worker.count, self.optimizer, batches, worker.gradient)
        worker.count += steps


def replace(new: Replica, reduced: np.ndarray, where: slice) -> None:
    """The combination becomes the replica."""
    np.copyto(new.vectors[:, where], reduced)
