"""Local work: what a worker computes between two combinations."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import final

from psgd.core.replica import Replica
from psgd.core.worker_state import WorkerState
from psgd.learners.learner import Batch, Learner, TrainState
from psgd.optimizers.optimizer import Optimizer
from psgd.strategy.strategy import Recipe, State


@final
@dataclass(frozen=True)
class OneGradient:
    """The contribution is the mean gradient of one batch at the replica's parameters."""

    contribution_rows: int = 1
    moment_rows: int = 0
    keeps_worker_state: bool = False

    @property
    def recipe(self) -> Recipe:
        return Recipe(None)

    def run(
        self, replica: Replica, worker: WorkerState, learner: Learner, batches: Iterable[Batch], steps: int
    ) -> None:
        for batch in batches:
            learner.gradient(replica.parameters, batch, worker.vector)


@final
@dataclass(frozen=True)
class LocalDescent:
    """Optimizer steps on the worker's own parameters, which begin each round at the replica's and are the contribution.

    `state` says what becomes of the optimizer's moments at a combination: each worker keeps its own, all workers take
    their weighted average (the moments are part of the contribution), or all are reset to zero."""

    optimizer: Optimizer
    state: State = "keep"

    @property
    def recipe(self) -> Recipe:
        return Recipe(self.optimizer, self.state)

    @property
    def contribution_rows(self) -> int:
        return 1 + self.optimizer.rows if self.state == "average" else 1

    @property
    def moment_rows(self) -> int:
        return 0 if self.state == "average" else self.optimizer.rows

    @property
    def keeps_worker_state(self) -> bool:
        return self.state == "keep" and self.optimizer.rows > 0

    def run(
        self, replica: Replica, worker: WorkerState, learner: Learner, batches: Iterable[Batch], steps: int
    ) -> None:
        if worker.steps_done == 0:
            worker.contribution[:] = replica.vectors
            if self.state == "reset":
                worker.reset_moments()
            elif self.state == "average":
                worker.moment_steps = replica.progress.steps
        moments = worker.contribution[1:] if self.state == "average" else worker.moments
        state = TrainState(worker.vector, moments, worker.moment_steps, worker.gradient)
        learner.run(state, self.optimizer, batches)
        worker.moment_steps += steps
