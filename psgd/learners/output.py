"""What becomes of the last layer's outputs: their losses are added up, and the slopes of the losses made."""

from typing import final

import numpy as np

from psgd.learners.losses import Loss
from psgd.learners.room import Room

ROOM = 4096  # outputs that are kept before their losses are summed: a call costs more than a small batch's sum


@final
class Output:
    def __init__(self, loss: Loss, activation: str, dtype: np.dtype) -> None:
        self._loss, self._natural = loss, loss.natural == activation
        self._of_slope = loss.of_slope
        self._sum, self._waiting = 0.0, 0
        self._A, self._T = np.empty(ROOM, dtype), np.empty(ROOM, dtype)

    def slope(self, room: Room, T_OB: np.ndarray) -> None:
        """dL/dZ of each example, into room.D_OB; its loss is counted in."""
        A_OB, D_OB = room.A_OB, room.D_OB
        if self._natural:
            np.subtract(A_OB, T_OB, out=D_OB)
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

    def _note(self, A: np.ndarray, T: np.ndarray) -> None:
        if A.size > ROOM // 4:
            self._sum += self._loss.value(A, T)
            return
        start, end = self._waiting, self._waiting + A.size
        if end > ROOM:
            self._add_up()
            start, end = 0, A.size
        self._A[start:end], self._T[start:end] = A.reshape(-1), T.reshape(-1)
        self._waiting = end

    def _add_up(self) -> None:
        if self._waiting:
            self._sum += self._loss.value(self._A[: self._waiting], self._T[: self._waiting])
            self._waiting = 0
