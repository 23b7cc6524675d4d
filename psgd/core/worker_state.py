"""The state of one worker: its local parameters, its optimizer's moments, its step counts."""

from typing import final

import numpy as np


@final
class WorkerState:
    def __init__(self, number: int, contribution: np.ndarray, moment_rows: int, gradient: np.ndarray) -> None:
        """`contribution` (C, P): in the memory that the group gave it. `gradient` (P,): scratch memory that the workers
        of one process share."""
        self.number = number
        self.contribution = contribution
        self.vector = contribution[0]  # the gradient, or the local parameters where those are averaged
        self.moments = np.zeros((moment_rows, contribution.shape[1]), contribution.dtype)
        self.gradient = gradient
        self.optimizer_vectors = [*self.moments, *contribution[1:]]
        self.restart_round()
        self.reset_moments()

    def restart_round(self) -> None:
        self.steps_done = 0  # in this round
        self.loss = 0.0  # sum over the examples of this round

    def reset_moments(self) -> None:
        self.moments[:] = 0.0
        self.moment_steps = 0  # optimizer steps that the moments have seen: Adam's t
