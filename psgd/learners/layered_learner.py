"""The base of the MLP and the sparse linear model: layers of weights and biases, a loss, penalties, plain SGD."""

from abc import abstractmethod
from collections.abc import Iterable
from typing import Any, NamedTuple

import numpy as np

from psgd.backends.backend import Outputs
from psgd.backends.layout import Layout
from psgd.learners.initializers import initial
from psgd.learners.learner import Batch, Learner, TrainState
from psgd.learners.loss_head import LossHead
from psgd.learners.losses import Loss
from psgd.optimizers.optimizer import Optimizer
from psgd.optimizers.schedule import Schedule


class WeightSettings(NamedTuple):
    """The objective is the mean loss of the batch + l1 ||W||_1 + (l2 / 2) ||W||^2, without biases."""

    initializer: str = "xavier"
    constant: float = 0.0  # the value of all parameters for the initializer "constant"
    l1: float = 0.0
    l2: float = 0.0


XAVIER = WeightSettings()


class LayeredLearner(Learner):
    def __init__(self, layout: Layout, output: str, loss: Loss, dtype: np.dtype, weights: WeightSettings) -> None:
        """`output`: the last layer's activation."""
        self.layout, self.size, self.dtype = layout, layout.size, np.dtype(dtype)
        self._loss, self._head = loss, LossHead(loss, output)
        self._initializer, self._constant, self._l1, self._l2 = weights

    def initial(self, seed: int) -> np.ndarray:
        return initial(self.layout, self._initializer, self._constant, seed, self.dtype)

    @abstractmethod
    def outputs(self, parameters: np.ndarray, X: Any) -> Outputs:
        """Compute outputs, in buffers that the next call with as many examples overwrites."""

    def predict(self, parameters: np.ndarray, X: Any) -> np.ndarray:
        """Return outputs (B, O), in a buffer that the next call with as many examples overwrites."""
        return self.outputs(parameters, X).A_OB.T

    @abstractmethod
    def _descend(self, parameters: np.ndarray, schedule: Schedule, batches: Iterable[Batch]) -> None:
        """Take a step of plain SGD a batch, without l1, in place."""

    def read_loss(self) -> float:
        return self._head.read()

    def score(self, parameters: np.ndarray, X: Any, T_BO: np.ndarray) -> tuple[float, int]:
        outputs = self.outputs(parameters, X)
        A_BO = outputs.A_OB.T
        if A_BO.shape[1] > 1:
            right = np.argmax(A_BO, axis=1) == np.argmax(T_BO, axis=1)
        else:
            right = (self._loss.threshold < A_BO) == (T_BO > 0.5)
        return self._loss.value(outputs.Z_OB, T_BO.T), int(np.count_nonzero(right))

    def run(self, state: TrainState, optimizer: Optimizer, batches: Iterable[Batch]) -> None:
        """Take optimizer steps. Plain SGD updates without writing the gradient, which rounds differently."""
        if optimizer.plain and not self._l1:
            self._descend(state.parameters, optimizer.schedule, batches)
        else:
            super().run(state, optimizer, batches)
