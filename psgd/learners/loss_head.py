"""What becomes of the last layer's outputs: their losses are added up, and the slopes of the losses made."""

from typing import final

import numpy as np

from psgd.backends.numpy.layer_buffers import LayerBuffers
from psgd.learners.losses import Loss

ROOM = 4096  # outputs that are kept before their losses are summed: a call costs more than a small batch's sum


@final
class LossHead:
    def __init__(self, loss: Loss, activation: str) -> None:
        self._loss, self._natural = loss, loss.natural == activation
        self._of_slope = loss.of_slope
        self._sum = 0.0
        self._A: list[np.ndarray] = []
        self._T: list[np.ndarray] = []
        self._kept = 0

    def slope(self, room: LayerBuffers, T_OB: np.ndarray) -> None:
        """dL/dZ of each example, into room.D_OB; its loss is counted in."""
        A_OB, D_OB = room.A_OB, room.D_OB
        if self._natural:
            np.subtract(A_OB, T_OB, D_OB)
        else:
            self._loss.slope(A_OB, T_OB, D_OB)
        if self._of_slope:
            self._sum += self._of_slope(D_OB)
        else:
            self._note(A_OB, T_OB)
        if not self._natural:
            room.backward()

    def read(self) -> float:
        """The sum of the losses since it was last read."""
        self._add_up()
        loss, self._sum = self._sum, 0.0
        return loss

    def _note(self, A_OB: np.ndarray, T_OB: np.ndarray) -> None:
        if A_OB.size > ROOM // 4:
            self._sum += self._loss.value(A_OB, T_OB)
            return
        self._A.append(A_OB.copy())
        self._T.append(T_OB.copy())
        self._kept += A_OB.size
        if self._kept > ROOM:
            self._add_up()

    def _add_up(self) -> None:
        if self._kept:
            self._sum += self._loss.value(np.concatenate(self._A, axis=1), np.concatenate(self._T, axis=1))
            self._A, self._T, self._kept = [], [], 0
