"""Parameter averaging: Zinkevich, Weimer, Smola, Li, NIPS 2010, algorithm 2 every `period` steps.

With period `end` it is the paper's: one average, at the end.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from typing import final

import numpy as np

from psgd.core.replica import Progress, Replica
from psgd.core.worker_state import WorkerState
from psgd.group.reports import WorkDone, frozen
from psgd.learners.learner import Batch, Learner
from psgd.strategy.descent import Descent, replace
from psgd.strategy.strategy import VectorNeeds


@final
@dataclass(frozen=True)
class ParameterAveraging:
    workers: int
    period: int
    descent: Descent

    @property
    def needs(self) -> VectorNeeds:
        return self.descent.needs

    def plan(self, round: int) -> np.ndarray:
        return np.full(self.workers, self.period, np.int64)

    def local(
        self, replica: Replica, worker: WorkerState, learner: Learner, batches: Iterable[Batch], steps: int
    ) -> None:
        self.descent.local(replica, worker, learner, batches, steps)

    def weights(self, progress: Progress, work: WorkDone) -> np.ndarray:
        """1/k for the k workers that worked."""
        return _shares(work)

    def apply(self, old: Replica, new: Replica, epoch: float, reduced: np.ndarray, where: slice, norm: float) -> None:
        replace(new, reduced, where)


@lru_cache(maxsize=16)
def _shares(work: WorkDone) -> np.ndarray:
    worked = work.steps > 0
    shares: np.ndarray = worked / worked.sum()
    return frozen(shares[None])
