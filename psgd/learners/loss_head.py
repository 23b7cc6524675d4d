"""The loss at a network's outputs: its deltas, and the running sum of its values."""

from typing import final

import numpy as np

from psgd.backends.backend import Outputs
from psgd.learners.losses import Loss

# Outputs that are kept, with their targets, until their losses are summed together, since a call costs more than a
# small batch's sum. Raised, it takes more memory and fewer calls.
KEPT_OUTPUTS = 4096


@final
class LossHead:
    """`is_canonical`: dL/dZ is A - T with this output activation, so deltas are dL/dZ instead of dL/dA.
    `is_difference`: the delta is A - T, which a forward pass can write."""

    def __init__(self, loss: Loss, activation: str) -> None:
        self.is_canonical = loss.canonical == activation
        assert loss.derivative or self.is_canonical, (
            f"the loss needs the output activation {loss.canonical}, not {activation}"
        )
        self.is_difference = self.is_canonical or loss.derivative_is_difference
        self._loss, self._value_from_derivative = loss, loss.value_from_derivative
        self._sum = 0.0
        self._Z: list[np.ndarray] = []
        self._T: list[np.ndarray] = []
        self._kept = 0

    def add(self, outputs: Outputs, T_OB: np.ndarray) -> None:
        """Add the examples' losses to the sum. Write the delta to D_OB, which holds it already if `is_difference`."""
        A_OB, D_OB, Z_OB = outputs
        if not self.is_difference and self._loss.derivative:
            self._loss.derivative(A_OB, T_OB, D_OB)
        if self._value_from_derivative:
            self._sum += self._value_from_derivative(D_OB)
        elif Z_OB.size > KEPT_OUTPUTS // 4:
            self._sum += self._loss.value(Z_OB, T_OB)
        else:
            self._Z.append(Z_OB.copy())
            self._T.append(T_OB.copy())
            self._kept += Z_OB.size
            if self._kept > KEPT_OUTPUTS:
                self._sum_kept()

    def read(self) -> float:
        """Return the running sum of losses, and reset it."""
        self._sum_kept()
        loss, self._sum = self._sum, 0.0
        return loss

    def _sum_kept(self) -> None:
        if self._kept:
            several = len(self._Z) > 1
            Z_OB, T_OB = (np.concatenate(kept, axis=1) if several else kept[0] for kept in (self._Z, self._T))
            self._sum += self._loss.value(Z_OB, T_OB)
            self._Z, self._T, self._kept = [], [], 0
