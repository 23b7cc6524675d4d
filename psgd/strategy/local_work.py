"""Local work: what a worker computes between two combinations."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import final

from psgd.core.replica import Replica
from psgd.core.worker_state import WorkerState
from psgd.learners.learner import Batch, Learner, TrainState
from psgd.optimizers.optimizer import Optimizer
from psgd.strategy.strategy import OptimizerState


@final
@dataclass(frozen=True)
class OneGradient:
    """Synchronous SGD: the contribution is the mean gradient of one batch at the replica's parameters."""

    contribution_rows: int = 1
    moment_rows: int = 0
    keeps_worker_state: bool = False
    optimizer: None = None
    optimizer_state: OptimizerState = "reset"

    def run(
        self, replica: Replica, worker: WorkerState, learner: Learner, batches: Iterable[Batch], steps: int
    ) -> None:
        for batch in batches:
            learner.gradient(replica.parameters, batch, worker.vector)


@final
@dataclass(frozen=True)
class LocalDescent:
    """Local SGD: optimizer steps on the worker's own parameters, which begin each round at the replica's and are the
    contribution.

    `optimizer_state` says what becomes of the moments at a combination: each worker keeps its own, all workers take
    their weighted average (the moments are part of the contribution), or all are reset to zero."""

    optimizer: Optimizer
    optimizer_state: OptimizerState = "keep"

    @property
    def contribution_rows(self) -> int:
        return 1 + self.optimizer.moment_rows if self.optimizer_state == "average" else 1

    @property
    def moment_rows(self) -> int:
        return 0 if self.optimizer_state == "average" else self.optimizer.moment_rows

    @property
    def keeps_worker_state(self) -> bool:
        return self.optimizer_state == "keep" and self.optimizer.moment_rows > 0

    def run(
        self, replica: Replica, worker: WorkerState, learner: Learner, batches: Iterable[Batch], steps: int
    ) -> None:
        if worker.steps_done == 0:
            worker.contribution[:] = replica.vectors[: self.contribution_rows]  # the others are the application's
            if self.optimizer_state == "reset":
                worker.reset_moments()
            elif self.optimizer_state == "average":
                worker.moment_steps = replica.progress.steps
        moments = worker.contribution[1:] if self.optimizer_state == "average" else worker.moments
        state = TrainState(worker.vector, moments, worker.moment_steps, worker.gradient)
        learner.run(state, self.optimizer, batches)
        worker.moment_steps += steps
