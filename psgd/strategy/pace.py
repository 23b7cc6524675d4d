"""How many steps each worker takes in a round."""

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from math import floor
from typing import final

import numpy as np


@final
@dataclass(frozen=True)
class Pace:
    """Worker i takes floor((t + 1) p s_i) - floor(t p s_i) steps in round t: a slow worker never starves."""

    period: int  # p, steps of the fastest
    speeds: tuple[Fraction, ...]  # s_i, relative to the fastest

    def plan(self, round: int) -> np.ndarray:
        """(workers,) int64, exactly: in fractions, since floor(0.29 * 100) is 28 in floating point."""
        step = [self.period * speed for speed in self.speeds]
        return np.array([floor((round + 1) * s) - floor(round * s) for s in step], np.int64)


def speeds_of(speeds: Sequence[float] | None, workers: int) -> tuple[Fraction, ...]:
    """As written (0.1 is a tenth); equal where none are given."""
    return tuple(Fraction(str(s)) for s in speeds) if speeds else (Fraction(1),) * workers


def period_to_end(batches: int, speeds: Sequence[Fraction]) -> int:
    """Steps of the fastest worker in which all together take `batches`: the one round of one-shot averaging."""
    period = floor(batches / sum(speeds))
    while sum(floor(period * s) for s in speeds) < batches:
        period += 1
    return period
