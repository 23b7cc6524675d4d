"""What a learner is: a gradient over one flat vector, and the default way of running many steps of it."""

from collections.abc import Iterable
from typing import Any, NamedTuple, Protocol

import numpy as np

from psgd.optimizers.optimizer import Optimizer


class Batch(NamedTuple):
    X: Any  # what the data's reader gives and the learner takes: inputs and a column of ones (B, I), or sparse rows
    T_BO: np.ndarray
    epoch: float  # where in the training the batch's middle lies: what schedules are functions of


class Learner(Protocol):
    """One process's learner; its buffers are its own, so threads have one each."""

    size: int  # P
    dtype: np.dtype

    def initial(self, seed: int) -> np.ndarray:
        """Parameters (P,) drawn by numpy from `seed`."""
        ...

    def gradient(self, parameters: np.ndarray, batch: Batch, out: np.ndarray) -> None:
        """Write the mean gradient over the batch to `out` (P,); add the examples' losses to the running sum."""
        ...

    def read_loss(self) -> float:
        """The sum of the examples' losses since it was last read."""
        ...

    def score(self, parameters: np.ndarray, X: Any, T_BO: np.ndarray) -> tuple[float, int]:
        """(sum of losses, examples classified rightly)."""
        ...

    def run(
        self,
        parameters: np.ndarray,
        moments: np.ndarray,
        count: int,
        optimizer: Optimizer,
        batches: Iterable[Batch],
        gradient: np.ndarray,
    ) -> None:
        """One optimizer step a batch, in place on `parameters` (P,) and `moments` (rows, P); `count` steps came
        before, `gradient` (P,) is to write in."""
        ...

    def name(self, index: int) -> str:
        """Where in the model the parameter `index` lies, for people."""
        ...


def run(
    learner: Learner,
    parameters: np.ndarray,
    moments: np.ndarray,
    count: int,
    optimizer: Optimizer,
    batches: Iterable[Batch],
    gradient: np.ndarray,
) -> None:
    """The default `Learner.run`: gradient, then optimizer, batch by batch."""
    for step, batch in enumerate(batches, count + 1):
        learner.gradient(parameters, batch, gradient)
        optimizer.step(parameters, gradient, moments, step, batch.epoch)
