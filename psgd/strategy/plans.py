"""Plans: how many steps each worker takes in a round."""

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property
from math import floor
from typing import final

from psgd.core.portable_math import as_written


@final
@dataclass(frozen=True)
class EqualPlan:
    """Every worker takes `period` steps in every round."""

    workers: int
    period: int = 1

    def steps(self, round: int) -> tuple[int, ...]:
        return self._steps

    @cached_property
    def _steps(self) -> tuple[int, ...]:
        return (self.period,) * self.workers


@final
@dataclass(frozen=True)
class PacedPlan:
    """Worker i takes floor((t + 1) p s_i) - floor(t p s_i) steps in round t, so that slow workers get their share."""

    period: int  # p: steps of the fastest worker
    speeds: tuple[Fraction, ...]  # s_i, relative to the fastest

    def steps(self, round: int) -> tuple[int, ...]:
        paces = [self.period * speed for speed in self.speeds]
        return tuple(floor((round + 1) * pace) - floor(round * pace) for pace in paces)


def exact_speeds(speeds: Sequence[float] | None, workers: int) -> tuple[Fraction, ...]:
    """The speeds as exact fractions; all 1 if none are given."""
    return tuple(map(as_written, speeds)) if speeds else (Fraction(1),) * workers


def period_to_end(batches: int, speeds: Sequence[Fraction]) -> int:
    """Steps of the fastest worker with which all workers together take at least `batches` steps: one-shot averaging
    combines once, after a single round of that length."""
    period = floor(batches / sum(speeds))
    while sum(floor(period * s) for s in speeds) < batches:
        period += 1
    return period
