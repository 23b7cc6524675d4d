"""Rules of weights: how much each worker's contribution counts. Rows sum to 1; a worker without steps counts 0."""

from dataclasses import dataclass
from typing import final

import numpy as np

from psgd.core.portable_math import power
from psgd.strategy.strategy import WorkDone


@final
@dataclass(frozen=True)
class ByExamples:
    """In proportion to the examples: the combination is the mean over all examples of the round."""

    def of(self, work: WorkDone) -> np.ndarray:
        shares: np.ndarray = work.examples / work.examples.sum()
        return shares[None]


@final
@dataclass(frozen=True)
class Uniform:
    """1/k for each of the k workers that took a step (Zinkevich et al. 2010, algorithm 2)."""

    def of(self, work: WorkDone) -> np.ndarray:
        worked = work.steps > 0
        shares: np.ndarray = worked / worked.sum()
        return shares[None]


@final
@dataclass(frozen=True)
class ByDelay:
    """q_i = r^(T_i) / sum_j r^(T_j), where T_i are the steps by which worker i is behind the fastest since the last
    combination (Cheng et al. 2020, WP-SGD, eq. 6). One candidate for each contraction r."""

    contractions: tuple[float, ...]

    def of(self, work: WorkDone) -> np.ndarray:
        r = np.array(self.contractions)
        delays = (work.steps.max() - work.steps).tolist()
        powers = np.where(work.steps > 0, np.stack([power(r, delay) for delay in delays], axis=1), 0.0)
        weights: np.ndarray = powers / powers.sum(axis=1, keepdims=True)
        return weights
