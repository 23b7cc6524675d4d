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
class Replace:
    """The averaged contribution is the next replica."""

    norm: bool = False

    def state_rows(self, contribution_rows: int) -> int:
        return contribution_rows - 1

    def begin(self, old: Replica, new: Replica, epoch: float, squared_norm: float) -> ApplyBlock:
        def apply(reduced: np.ndarray, where: slice) -> None:
            np.copyto(new.vectors[:, where], reduced)

        return apply
