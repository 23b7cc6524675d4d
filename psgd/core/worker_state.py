"""The state of one worker, which it shares with no other."""

from typing import final

import numpy as np


@final
class WorkerState:
    """Local parameters, optimizer moments and step counts of one worker."""

    def __init__(self, number: int, contribution: np.ndarray, rows: int, gradient: np.ndarray) -> None:
        self.number = number
        self.contribution = contribution  # (contribution rows, P), in memory of the group
        self.vector = contribution[0]  # the gradient, or the local parameters where parameters are averaged
        self.moments = np.zeros((rows, contribution.shape[1]), contribution.dtype)
        self.gradient = gradient  # (P,) scratch memory, shared by the workers of a process
        self.restart()
        self.forget()

    def restart(self) -> None:
        """Reset what belongs to one round."""
        self.steps_done = 0  # steps in this round
        self.loss = 0.0  # sum of the losses of the examples of this round

    def forget(self) -> None:
        """Reset the optimizer's moments, as of a worker that has made no step."""
        self.moments[:] = 0.0
        self.count = 0  # steps that the moments have accumulated
