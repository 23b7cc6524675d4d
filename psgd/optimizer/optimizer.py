"""An optimizer: a rule, the schedule of its rate, and clipping by norm."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import final

import numpy as np

from psgd.optimizer.rules import SGD, Rule
from psgd.optimizer.schedule import Schedule

BLOCK = 32768  # elements: what several passes can go over without leaving the cache


def blocks(start: int, stop: int) -> Iterator[slice]:
    """Slices of at most BLOCK elements. Where squares are summed by block, `start` is a multiple of BLOCK."""
    for left in range(start, stop, BLOCK):
        yield slice(left, min(left + BLOCK, stop))


def squared_norm(vector: np.ndarray) -> float:
    """Sum of squares in float64, of one block: numpy's pairwise order, the same wherever it is computed."""
    wide = vector.astype(np.float64)
    return float(np.multiply(wide, wide, out=wide).sum())


@final
@dataclass(frozen=True)
class Optimizer:
    rule: Rule
    schedule: Schedule
    clip_norm: float | None = None

    @property
    def rows(self) -> int:
        return self.rule.rows

    @property
    def plain(self) -> bool:
        """Whether a step is p -= rate g and nothing else, which learners may do in their own way."""
        return self.rule == SGD() and self.clip_norm is None

    def clip(self, squares: float) -> float:
        """The factor that brings a gradient of `squares` = ||g||^2 down to the norm allowed."""
        if self.clip_norm is None or squares <= self.clip_norm**2:
            return 1.0
        return self.clip_norm / float(np.sqrt(squares))

    def step(self, p: np.ndarray, g: np.ndarray, state: np.ndarray, count: int, epoch: float) -> None:
        """A whole vector's step, in place: p and g (P,), state (rows, P). `g` is destroyed."""
        rate = self.schedule.rate(epoch)
        factor = 1.0
        if self.clip_norm is not None:
            factor = self.clip(sum(squared_norm(g[where]) for where in blocks(0, g.size)))
        for where in blocks(0, g.size):
            part = g[where]
            if factor != 1.0:
                part *= factor
            self.rule.update(p[where], part, state[:, where], count, rate)
