"""Weighted averaging for unequal workers: Cheng, Li, Zhang, WP-SGD, JPDC 145, 2020, algorithm 1, every `period` steps
of the fastest worker (their algorithm 5 without the asynchrony inside a node)."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import final

import numpy as np

from psgd.core.portable_math import power
from psgd.core.replica import Progress, Replica
from psgd.core.worker_state import WorkerState
from psgd.group.reports import WorkDone
from psgd.learners.learner import Batch, Learner
from psgd.strategy.descent import Descent, replace
from psgd.strategy.pace import Pace
from psgd.strategy.strategy import VectorNeeds

# Contractions tried where one is to be chosen: from uniform averaging (the tie's winner) to the fastest alone.
HOLDOUT = (1.0, 0.9999, 0.999, 0.99, 0.97, 0.9, 0.5)


@final
@dataclass(frozen=True)
class WeightedAveraging:
    pace: Pace
    descent: Descent
    contractions: tuple[float, ...]  # candidates for r; more than one are scored on validation data

    @property
    def needs(self) -> VectorNeeds:
        return self.descent.needs

    def plan(self, round: int) -> np.ndarray:
        return self.pace.plan(round)

    def local(
        self, replica: Replica, worker: WorkerState, learner: Learner, batches: Iterable[Batch], steps: int
    ) -> None:
        self.descent.local(replica, worker, learner, batches, steps)

    def weights(self, progress: Progress, work: WorkDone) -> np.ndarray:
        """q_i = r^(T_i) / sum_j r^(T_j), eq. 6; T_i: steps behind the fastest since the last combination."""
        r = np.array(self.contractions)
        delays = (work.steps.max() - work.steps).tolist()
        powers = np.where(work.steps > 0, np.stack([power(r, delay) for delay in delays], axis=1), 0.0)
        weights: np.ndarray = powers / powers.sum(axis=1, keepdims=True)
        return weights

    def apply(self, old: Replica, new: Replica, epoch: float, reduced: np.ndarray, where: slice, norm: float) -> None:
        replace(new, reduced, where)
