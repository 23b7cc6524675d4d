"""The protocol of learners."""

from collections.abc import Iterable
from typing import Any, NamedTuple, Protocol

import numpy as np

from psgd.optimizers.optimizer import Optimizer


class Batch(NamedTuple):
    X: Any  # as the data's reader returns it: inputs and a column of ones (B, I), or SparseRows
    T_BO: np.ndarray
    epoch: float  # position of the batch's middle, in epochs, for schedules


class TrainState(NamedTuple):
    """The arrays that optimizer steps change, in place."""

    parameters: np.ndarray  # (P,)
    moments: np.ndarray  # (rows, P) of the optimizer
    steps: int  # number of steps taken before
    gradient: np.ndarray  # (P,), scratch


class Learner(Protocol):
    """A learner, for one thread: its buffers must not be shared."""

    size: int  # P
    dtype: np.dtype

    def initial(self, seed: int) -> np.ndarray:
        """Return initial parameters (P,)."""

    def gradient(self, parameters: np.ndarray, batch: Batch, out: np.ndarray) -> None:
        """Write the mean gradient over the batch to `out` (P,); add the examples' losses to the running sum."""

    def read_loss(self) -> float:
        """Return the running sum of losses, and reset it."""

    def score(self, parameters: np.ndarray, X: Any, T_BO: np.ndarray) -> tuple[float, int]:
        """Return (sum of losses, number of examples classified correctly)."""

    def name(self, index: int) -> str:
        """Name the part of the model that the parameter `index` belongs to, for messages."""

    def run(self, state: TrainState, optimizer: Optimizer, batches: Iterable[Batch]) -> None:
        """Take one optimizer step a batch."""
        parameters, moments, steps, gradient = state
        for step, batch in enumerate(batches, steps + 1):
            self.gradient(parameters, batch, gradient)
            optimizer.step(parameters, gradient, moments, step, batch.epoch)
