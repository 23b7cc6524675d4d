"""The multilayer perceptron; without hidden layers, a linear model.

Shapes: B examples, I inputs with the constant 1, O outputs.
"""

from collections.abc import Iterable
from typing import final

import numpy as np

from psgd.backends.backend import Backend, Network, Outputs
from psgd.backends.layout import LayerViews, Layout
from psgd.backends.numpy.backend import NUMPY
from psgd.learners.layered_learner import XAVIER, LayeredLearner, WeightSettings
from psgd.learners.learner import Batch
from psgd.learners.losses import Loss
from psgd.optimizers.schedule import Schedule


@final
class MLP(LayeredLearner):
    def __init__(
        self,
        sizes: tuple[int, ...],
        activation: str,
        output: str,
        loss: Loss,
        dtype: np.dtype,
        weights: WeightSettings = XAVIER,
        backend: Backend = NUMPY,
    ) -> None:
        """`activation`: of hidden layers; `output`: of the last layer. LookupError if `backend` cannot compute it."""
        super().__init__(Layout(sizes), output, loss, dtype, weights)
        activations = (activation,) * (len(sizes) - 2) + (output,)
        self.network = Network(self.layout, activations, self.dtype, self._head.is_canonical)
        self._passes = backend.passes(self.network)
        self._views = LayerViews(self.layout)

    def outputs(self, parameters: np.ndarray, X_BI: np.ndarray) -> Outputs:
        return self._passes.forward(parameters, X_BI)

    def gradient(self, parameters: np.ndarray, batch: Batch, out: np.ndarray) -> None:
        self._forward(parameters, batch.X, batch.T_BO)
        self._passes.gradient(parameters, batch.X, out)
        if self._l1 or self._l2:
            self._regularize(parameters, out)

    def name(self, index: int) -> str:
        return self.layout.name(index)

    def _forward(self, parameters: np.ndarray, X_BI: np.ndarray, T_BO: np.ndarray) -> None:
        """Compute outputs and deltas; add the examples' losses to the running sum."""
        outputs = self._passes.forward(parameters, X_BI, T_BO if self._head.is_difference else None)
        self._head.add(outputs, T_BO.T)

    def _descend(self, parameters: np.ndarray, schedule: Schedule, batches: Iterable[Batch]) -> None:
        """W <- (1 - rate l2) W - rate A D^T / B, without l2 for biases."""
        forward, descend = self._forward, self._passes.descend
        for X_BI, T_BO, epoch in batches:
            rate = schedule.rate(epoch)
            forward(parameters, X_BI, T_BO)
            descend(parameters, X_BI, -rate / len(T_BO), 1.0 - rate * self._l2)

    def _regularize(self, parameters: np.ndarray, gradient: np.ndarray) -> None:
        """Add the gradient of the penalties."""
        for (*_, W), (*_, dW) in zip(self._views.of(parameters), self._views.of(gradient), strict=True):
            if self._l2:
                dW += self._l2 * W
            if self._l1:
                dW += self._l1 * np.sign(W)
