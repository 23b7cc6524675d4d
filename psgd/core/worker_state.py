"""What a worker alone carries: its local parameters, its optimizer's moments, its step counts."""

from typing import final

import numpy as np


@final
class WorkerState:
    """What one worker alone carries."""

    def __init__(self, number: int, contribution: np.ndarray, rows: int, gradient: np.ndarray) -> None:
        self.number = number
        self.contribution = contribution  # (C, P), in the memory that the group gave it
        self.vector = contribution[0]  # the gradient, or the local parameters where those are averaged
        self.moments = np.zeros((rows, contribution.shape[1]), contribution.dtype)
        self.gradient = gradient  # (P,) to write in, shared by the workers of one process
        self.restart()
        self.forget()

    def restart(self) -> None:
        """To the start of a round."""
        self.steps_done = 0  # steps in this round
        self.loss = 0.0  # sum over the examples of this round

    def forget(self) -> None:
        """To a worker that never worked."""
        self.moments[:] = 0.0
        self.count = 0  # steps the moments have seen
