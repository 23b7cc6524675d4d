"""A strategy is four small frozen parts: plan x local work x weights x application.

A strategy sees workers, steps and vectors; never the group, the clock, the number of processes or a file. A new rule of
weights, an outer optimizer or a warm-up is another part and a row in presets.py.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from typing import Literal, NamedTuple, Protocol, final

import numpy as np

from psgd.core.blocks import ApplyBlock
from psgd.core.replica import Replica
from psgd.core.worker_state import WorkerState
from psgd.learners.learner import Batch, Learner
from psgd.optimizers.optimizer import Optimizer

OptimizerState = Literal["keep", "average", "reset"]  # what becomes of the moments at a combination


class VectorNeeds(NamedTuple):
    """The vectors, P elements each, that a strategy needs."""

    state_rows: int = 0  # of the replica, beside the parameters
    contribution_rows: int = 1  # C: vectors that one worker brings to a combination
    moment_rows: int = 0  # of one worker's own moments
    keeps_worker_state: bool = False  # the worker's moments outlive the round: they are saved, and lost with a process
    norm: bool = False  # the application needs the squared norm of the reduced row 0


class WorkDone(NamedTuple):
    """What a rule of weights sees of a round, in worker order. An absent worker has 0 steps."""

    steps: np.ndarray  # (workers,) int64
    examples: np.ndarray  # (workers,) int64


class Plan(Protocol):
    def steps(self, round: int) -> tuple[int, ...]:
        """Steps dealt to each worker in this round."""
        ...


class LocalWork(Protocol):
    @property
    def optimizer(self) -> Optimizer | None:
        """What takes each step; None: the contribution is the gradient of one batch at the replica's parameters."""
        ...

    @property
    def optimizer_state(self) -> OptimizerState: ...

    @property
    def contribution_rows(self) -> int: ...

    @property
    def moment_rows(self) -> int: ...

    @property
    def keeps_worker_state(self) -> bool: ...

    def run(
        self, replica: Replica, worker: WorkerState, learner: Learner, batches: Iterable[Batch], steps: int
    ) -> None:
        """Take `steps` steps, one a batch, and leave the contribution in `worker.contribution`. A round may be cut into
        several calls: `worker.steps_done` counts the steps of the earlier ones."""
        ...


class Weights(Protocol):
    def of(self, work: WorkDone) -> np.ndarray:
        """(candidates, workers) float64: each row sums to 1, and is 0 for a worker without steps. At least one worker
        took a step. Of several candidates the loop takes the one that scores best on validation data, ties to the
        first."""
        ...


class Application(Protocol):
    @property
    def norm(self) -> bool:
        """Whether `begin` needs the squared norm."""
        ...

    def state_rows(self, contribution_rows: int) -> int:
        """Rows of strategy state in the replica."""
        ...

    def begin(self, old: Replica, new: Replica, epoch: float, squared_norm: float) -> ApplyBlock:
        """Prepare the application of one combination. `old` and `new` may lie in the same memory. `epoch`: the middle
        of the round; `squared_norm`: of the whole reduced row 0, or nan if it is not needed."""
        ...


@final
@dataclass(frozen=True)
class Strategy:
    plan: Plan
    local: LocalWork
    weights: Weights
    application: Application

    @cached_property
    def needs(self) -> VectorNeeds:
        local, application = self.local, self.application
        return VectorNeeds(
            application.state_rows(local.contribution_rows),
            local.contribution_rows,
            local.moment_rows,
            local.keeps_worker_state,
            application.norm,
        )
