"""The local part of both averaging strategies: steps of the optimizer on the worker's own parameters."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal, final

import numpy as np

from psgd.learners.learner import Batch, Learner
from psgd.optimizer.optimizer import Optimizer
from psgd.replica import Private, Replica
from psgd.strategy.strategy import Needs


@final
@dataclass(frozen=True)
class Descent:
    """`state` is what becomes of the optimizer's moments at a combination: each worker keeps its own, all take the
    average of them, or all begin anew."""

    optimizer: Optimizer
    state: Literal["keep", "average", "reset"]

    @property
    def needs(self) -> Needs:
        rows = self.optimizer.rows
        if self.state == "average":
            return Needs(state_rows=rows, contribution_rows=1 + rows)
        return Needs(moment_rows=rows, carries=self.state == "keep" and rows > 0)

    def local(self, replica: Replica, mine: Private, learner: Learner, batches: Iterable[Batch], steps: int) -> None:
        """From the replica at the start of a round; the worker's parameters are its contribution all along."""
        if mine.done == 0:
            mine.out[:] = replica.vectors
            if self.state == "reset":
                mine.forget()
            elif self.state == "average":
                mine.count = replica.progress.steps
        moments = mine.out[1:] if self.state == "average" else mine.moments
        learner.run(mine.vector, moments, mine.count, self.optimizer, batches, mine.gradient)
        mine.count += steps


def replace(new: Replica, folded: np.ndarray, where: slice) -> None:
    """The combination becomes the replica."""
    np.copyto(new.vectors[:, where], folded)
