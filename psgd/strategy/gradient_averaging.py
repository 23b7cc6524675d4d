"""Synchronous gradient averaging: every round is one batch a worker and one optimizer step for all."""

from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from typing import final

import numpy as np

from psgd.core.replica import Progress, Replica
from psgd.core.worker_state import WorkerState
from psgd.group.reports import WorkDone, frozen
from psgd.learners.learner import Batch, Learner
from psgd.optimizers.optimizer import Optimizer
from psgd.strategy.strategy import VectorNeeds


@final
@dataclass(frozen=True)
class GradientAveraging:
    workers: int
    optimizer: Optimizer

    @property
    def needs(self) -> VectorNeeds:
        return VectorNeeds(state_rows=self.optimizer.rows, norm=self.optimizer.clip_norm is not None)

    def plan(self, round: int) -> np.ndarray:
        return np.ones(self.workers, np.int64)

    def local(
        self, replica: Replica, worker: WorkerState, learner: Learner, batches: Iterable[Batch], steps: int
    ) -> None:
        for batch in batches:
            learner.gradient(replica.parameters, batch, worker.vector)

    def weights(self, progress: Progress, work: WorkDone) -> np.ndarray:
        """Shares of the examples: the mean over all examples of the round, however they were dealt."""
        return _shares(work)

    def apply(self, old: Replica, new: Replica, epoch: float, reduced: np.ndarray, where: slice, norm: float) -> None:
        optimizer, gradient = self.optimizer, reduced[0]
        if optimizer.clip_norm is not None:
            gradient *= optimizer.clip(norm)
        rate, count = optimizer.schedule.rate(epoch), old.progress.steps + 1
        to = new.parameters[where], new.state[:, where]
        optimizer.update(old.parameters[where], gradient, old.state[:, where], count, rate, to)


@lru_cache(maxsize=16)
def _shares(work: WorkDone) -> np.ndarray:
    shares: np.ndarray = work.examples / work.examples.sum()
    return frozen(shares[None])
