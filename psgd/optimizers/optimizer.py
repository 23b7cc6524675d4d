"""An optimizer: a rule, the schedule of its rate, and clipping by norm."""

from dataclasses import dataclass
from typing import final

import numpy as np

from psgd.core.blocks import blocks, squared_norm
from psgd.optimizers.rules import SGD, Rule
from psgd.optimizers.schedule import Schedule


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
