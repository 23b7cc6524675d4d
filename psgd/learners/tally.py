"""The running sum of the losses of a learner's examples, many at a time: a call costs more than a small batch's sum."""

from typing import final

import numpy as np

from psgd.learners.losses import Loss

ROOM = 4096  # outputs kept before they are summed


@final
class Tally:
    def __init__(self, loss: Loss, dtype: np.dtype) -> None:
        self._loss, self._sum, self._waiting = loss, 0.0, 0
        self._A, self._T = np.empty(ROOM, dtype), np.empty(ROOM, dtype)

    def note(self, A: np.ndarray, T: np.ndarray) -> None:
        """Count in these outputs and their targets, of the same shape; they may be overwritten afterwards."""
        if A.size > ROOM // 4:
            self._sum += self._loss.value(A, T)
            return
        start, end = self._waiting, self._waiting + A.size
        if end > ROOM:
            self._add_up()
            start, end = 0, A.size
        self._A[start:end], self._T[start:end] = A.reshape(-1), T.reshape(-1)
        self._waiting = end

    def read(self) -> float:
        """The sum since it was last read."""
        self._add_up()
        loss, self._sum = self._sum, 0.0
        return loss

    def _add_up(self) -> None:
        if self._waiting:
            self._sum += self._loss.value(self._A[: self._waiting], self._T[: self._waiting])
            self._waiting = 0
