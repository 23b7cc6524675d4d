"""Where one layer's outputs and their slopes live, for one number of examples."""

from collections.abc import Callable
from functools import partial
from typing import final

import numpy as np

from psgd.learners.activations import Activation

Act = Callable[[], None]


@final
class Room:
    product_BO: np.ndarray | None = None  # the outputs as they come from the product, if they are to be transposed

    def __init__(self, outputs: int, examples: int, activation: Activation, dtype: np.dtype) -> None:
        self.A_IB = np.ones((outputs + 1, examples), dtype)  # the outputs and a row of ones: what the next layer gets
        self.A_OB = self.A_IB[:-1]
        self.D_OB = np.empty((outputs, examples), dtype)
        parts = activation.parts(self.A_OB, self.D_OB)
        # Z to A, in place; dL/dA to dL/dZ, in place in D.
        self.forward = _all([partial(activation.forward, A, space) for A, _, space in parts])
        self.backward = _all([partial(activation.backward, A, D, space) for A, D, space in parts])


def _all(acts: list[Act]) -> Act:
    def act() -> None:
        for one in acts:
            one()

    return acts[0] if len(acts) == 1 else act
