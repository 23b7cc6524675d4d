"""Applications: how the weighted sum of the contributions becomes the next replica. Elementwise, slice by slice."""

from dataclasses import dataclass
from typing import final

import numpy as np

from psgd.core.blocks import ApplyBlock
from psgd.core.replica import Replica
from psgd.optimizers.optimizer import Optimizer


@final
@dataclass(frozen=True)
class GradientStep:
    """One optimizer step along the averaged gradient. The moments are the strategy's state, the same for all."""

    optimizer: Optimizer

    @property
    def norm(self) -> bool:
        return self.optimizer.clip_norm is not None

    def state_rows(self, contribution_rows: int) -> int:
        return self.optimizer.moment_rows

    def begin(self, old: Replica, new: Replica, epoch: float, squared_norm: float) -> ApplyBlock:
        optimizer = self.optimizer
        update, factors = optimizer.update, optimizer.factors(old.progress.steps + 1, epoch)
        factor = optimizer.clip(squared_norm)
        p, state, to_p, to_state = old.parameters, old.state, new.parameters, new.state
        in_place = old.vectors is new.vectors

        def apply(reduced: np.ndarray, where: slice) -> None:
            gradient = reduced[0]
            if factor != 1.0:
                gradient *= factor
            old_p, old_state = p[where], state[:, where]
            new_p, new_state = (old_p, old_state) if in_place else (to_p[where], to_state[:, where])
            update(old_p, gradient, old_state, factors, new_p, new_state)

        return apply


@final
@dataclass(frozen=True)
class OuterStep:
    """One optimizer step from the old replica towards the average: its gradient is the old replica less the average.
    The moments are the strategy's state, in the rows behind the averaged moments of the workers.

    With rate 1 and no momentum, it is the average, to rounding. With Nesterov's momentum it is DiLoCo's (Douillard et
    al. 2023), with momentum SlowMo's (Wang et al. 2019, at a constant learning rate) or BMUF's (Chen and Huo 2016)."""

    optimizer: Optimizer
    norm: bool = False

    def state_rows(self, contribution_rows: int) -> int:
        return contribution_rows - 1 + self.optimizer.moment_rows

    def begin(self, old: Replica, new: Replica, epoch: float, squared_norm: float) -> ApplyBlock:
        update, factors = self.optimizer.update, self.optimizer.factors(old.progress.round + 1, epoch)
        moments = len(old.state) - self.optimizer.moment_rows  # of the workers, averaged

        def apply(reduced: np.ndarray, where: slice) -> None:
            np.copyto(new.state[:moments, where], reduced[1:])
            old_p, old_v, new_v = old.parameters[where], old.state[moments:, where], new.state[moments:, where]
            gradient = np.subtract(old_p, reduced[0], out=reduced[0])
            update(old_p, gradient, old_v, factors, new.parameters[where], new_v)

        return apply


@final
@dataclass(frozen=True)
class Replace:
    """The averaged contribution is the next replica."""

    norm: bool = False

    def state_rows(self, contribution_rows: int) -> int:
        return contribution_rows - 1

    def begin(self, old: Replica, new: Replica, epoch: float, squared_norm: float) -> ApplyBlock:
        def apply(reduced: np.ndarray, where: slice) -> None:
            np.copyto(new.vectors[:, where], reduced)

        return apply
