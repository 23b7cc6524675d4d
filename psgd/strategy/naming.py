"""A strategy whose failures in local work say which worker's they are: for learners that users wrote."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import final

import numpy as np

from psgd.learners.learner import Batch, Learner
from psgd.replica import Private, Progress, Replica
from psgd.roster import Work
from psgd.strategy.strategy import Needs, Strategy


@final
@dataclass(frozen=True)
class Naming:
    strategy: Strategy

    @property
    def needs(self) -> Needs:
        return self.strategy.needs

    def plan(self, round: int) -> np.ndarray:
        return self.strategy.plan(round)

    def local(self, replica: Replica, mine: Private, learner: Learner, batches: Iterable[Batch], steps: int) -> None:
        try:
            self.strategy.local(replica, mine, learner, batches, steps)
        except Exception as failure:
            failure.add_note(f"psgd.fit: in worker {mine.worker}, round {replica.progress.round}")
            raise

    def weights(self, progress: Progress, work: Work) -> np.ndarray:
        return self.strategy.weights(progress, work)

    def apply(self, old: Replica, new: Replica, epoch: float, folded: np.ndarray, where: slice, norm: float) -> None:
        self.strategy.apply(old, new, epoch, folded, where, norm)
