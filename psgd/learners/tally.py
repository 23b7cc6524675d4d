"""The running sum of the losses of a learner's examples, many at a time: a call costs more than a small batch's sum."""

from typing import final

import numpy as np

from psgd.learners.losses import Loss

ROOM = 4096  # outputs kept before they are summed


@final
class Tally:
    def __init__(self, loss: Loss, outputs: int, dtype: np.dtype) -> None:
        self._loss, self._sum, self._waiting = loss, 0.0, 0
        self._room = max(1, ROOM // outputs)
        self._A_BO, self._T_BO = np.empty((self._room, outputs), dtype), np.empty((self._room, outputs), dtype)

    def note(self, A_BO: np.ndarray, T_BO: np.ndarray) -> None:
        """Count in these outputs and targets; they may be overwritten afterwards."""
        examples = len(A_BO)
        if examples > self._room // 4:
            self._sum += self._loss.value(A_BO, T_BO)
            return
        end = self._waiting + examples
        if end > self._room:
            self.add_up()
            end = examples
        self._A_BO[self._waiting : end] = A_BO
        self._T_BO[self._waiting : end] = T_BO
        self._waiting = end

    def add_up(self) -> None:
        if self._waiting:
            self._sum += self._loss.value(self._A_BO[: self._waiting], self._T_BO[: self._waiting])
            self._waiting = 0

    def read(self) -> float:
        """The sum since it was last read."""
        self.add_up()
        loss, self._sum = self._sum, 0.0
        return loss
