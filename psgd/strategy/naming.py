"""A strategy whose failures in local work say which worker's they are: for learners that users wrote."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import final

import numpy as np

from psgd.core.replica import Progress, Replica
from psgd.core.worker_state import WorkerState
from psgd.group.reports import WorkDone
from psgd.learners.learner import Batch, Learner
from psgd.strategy.strategy import Strategy, VectorNeeds


@final
@dataclass(frozen=True)
class Naming:
    strategy: Strategy

    @property
    def needs(self) -> VectorNeeds:
        return self.strategy.needs

    def plan(self, round: int) -> np.ndarray:
        return self.strategy.plan(round)

    def local(
        self, replica: Replica, worker: WorkerState, learner: Learner, batches: Iterable[Batch], steps: int
    ) -> None:
        try:
            self.strategy.local(replica, worker, learner, batches, steps)
        except Exception as failure:
            failure.add_note(f"psgd.fit: in worker {worker.number}, round {replica.progress.round}")
            raise

    def weights(self, progress: Progress, work: WorkDone) -> np.ndarray:
        return self.strategy.weights(progress, work)

    def apply(self, old: Replica, new: Replica, epoch: float, reduced: np.ndarray, where: slice, norm: float) -> None:
        self.strategy.apply(old, new, epoch, reduced, where, norm)
