"""An optimizer: an update rule, a learning-rate schedule, clipping by norm, and a backend."""

from dataclasses import dataclass, field
from typing import final

import numpy as np

from psgd.backends.backend import Backend, Update
from psgd.backends.numpy.backend import NUMPY
from psgd.core.blocks import blocks, squared_norm
from psgd.optimizers.rules import SGD, Rule
from psgd.optimizers.schedule import Schedule


@final
@dataclass(frozen=True)
class Optimizer:
    rule: Rule
    schedule: Schedule
    clip_norm: float | None = None
    backend: Backend = NUMPY
    update: Update = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "update", self.backend.update(self.rule.name))

    @property
    def moment_rows(self) -> int:
        return self.rule.moment_rows

    @property
    def plain(self) -> bool:
        """Whether a step is p -= rate g and nothing else, which learners may compute without writing g."""
        return self.rule == SGD() and self.clip_norm is None

    def clip(self, squares: float) -> float:
        """Return the factor that limits a gradient with ||g||^2 = `squares` to the norm allowed."""
        if self.clip_norm is None or squares <= self.clip_norm**2:
            return 1.0
        return self.clip_norm / float(np.sqrt(squares))

    def factors(self, count: int, epoch: float) -> tuple[float, ...]:
        """Return the factors that `update` takes in step number `count` (from 1)."""
        return self.rule.factors(count, self.schedule.rate(epoch))

    def tabulate(self, counts: np.ndarray, epochs: np.ndarray, out: np.ndarray) -> None:
        """Write the factors of many steps to out[..., i]. `counts` and `epochs` broadcast."""
        for place, factor in enumerate(self.rule.tables(counts, self.schedule.rates(epochs))):
            out[..., place] = factor

    def step(self, p: np.ndarray, g: np.ndarray, state: np.ndarray, count: int, epoch: float) -> None:
        """Take step number `count` on all parameters, with clipping, in place: p and g (P,), state (rows, P). `g` is
        overwritten."""
        if self.clip_norm is not None:
            factor = self.clip(sum(squared_norm(g[where]) for where in blocks(0, g.size)))
            if factor != 1.0:
                g *= factor
        self.update(p, g, state, self.factors(count, epoch), p, state)
