"""The protocol of learners: a gradient over one flat vector, and the default loop over many steps."""

from collections.abc import Iterable
from typing import Any, NamedTuple, Protocol

import numpy as np

from psgd.optimizers.optimizer import Optimizer


class Batch(NamedTuple):
    X: Any  # what the data's reader returns: inputs and a column of ones (B, I), or SparseRows
    T_BO: np.ndarray
    epoch: float  # the point in the training at the batch's middle, for schedules


class Learner(Protocol):
    """A learner of one process or thread: its buffers must not be shared."""

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
        """(sum of losses, number of examples classified correctly)."""
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
        """Take one optimizer step a batch, in place on `parameters` (P,) and `moments` (rows, P), after `count` earlier
        steps; `gradient` (P,) is scratch."""
        ...

    def name(self, index: int) -> str:
        """The part of the model that the parameter `index` belongs to, for messages."""
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
