"""The multilayer perceptron over one flat vector. No hidden layer makes it a linear model.

Shapes: B examples, I inputs and O outputs of a layer. Buffers for a batch size are made once and reused.
"""

from collections.abc import Iterable
from typing import NamedTuple, final

import numpy as np

from psgd.learners import learner
from psgd.learners.activations import ACTIVATIONS, Activation
from psgd.learners.initial import initial
from psgd.learners.layout import Layers, Layout
from psgd.learners.learner import Batch
from psgd.learners.losses import Loss
from psgd.optimizer.optimizer import Optimizer


class _Buffers(NamedTuple):
    """For one number of examples, by layer."""

    activations: list[np.ndarray]
    deltas: list[np.ndarray]
    zeros: list[np.ndarray]
    ones: np.ndarray  # (B,): a sum over the batch is a product with it


@final
class MLP:
    """Objective: mean loss of the batch + l1 ||W||_1 + (l2 / 2) ||W||^2, biases not counted."""

    def __init__(
        self,
        sizes: tuple[int, ...],
        activation: str,
        output: str,
        loss: Loss,
        dtype: np.dtype,
        initializer: str = "xavier",
        constant: float = 0.0,
        l1: float = 0.0,
        l2: float = 0.0,
    ) -> None:
        self.layout = Layout(sizes)
        self.size = self.layout.size
        self.dtype = np.dtype(dtype)
        self._activations: list[Activation] = [ACTIVATIONS[activation]] * (len(sizes) - 2) + [ACTIVATIONS[output]]
        self._loss = loss
        self._natural = loss.natural == output
        self._initializer, self._constant = initializer, constant
        self._l1, self._l2 = l1, l2
        self._sum = 0.0
        self._views: dict[int, tuple[np.ndarray, Layers]] = {}
        self._buffers: dict[int, _Buffers] = {}

    def initial(self, seed: int) -> np.ndarray:
        return initial(self.layout, self._initializer, self._constant, seed, self.dtype)

    def predict(self, parameters: np.ndarray, X_BF: np.ndarray) -> np.ndarray:
        """The outputs (B, O), in a buffer that the next call with as many examples overwrites."""
        return self._forward(parameters, X_BF)[-1]

    def gradient(self, parameters: np.ndarray, batch: Batch, out: np.ndarray) -> None:
        X_BF, T_BO, _ = batch
        activations = self._forward(parameters, X_BF)
        buffers = self._workspace(len(X_BF))
        deltas, A_BO, D_BO = buffers.deltas, activations[-1], buffers.deltas[-1]
        self._sum += self._loss.value(A_BO, T_BO)
        if self._natural:
            np.subtract(A_BO, T_BO, out=D_BO)
        else:
            self._loss.slope(A_BO, T_BO, D_BO)
            self._activations[-1].backward(A_BO, D_BO)
        D_BO *= 1.0 / len(X_BF)
        weights, gradients = self._layers(parameters), self._layers(out)
        for layer in reversed(range(len(weights))):
            A_BI = activations[layer - 1] if layer else X_BF
            D_BO = deltas[layer]
            dW_IO, db_O = gradients[layer]
            np.dot(A_BI.T, D_BO, out=dW_IO)
            np.dot(buffers.ones, D_BO, out=db_O)
            if layer:
                np.dot(D_BO, weights[layer][0].T, out=deltas[layer - 1])
                self._activations[layer - 1].backward(A_BI, deltas[layer - 1])
        if self._l1 or self._l2:
            self._regularize(weights, gradients)

    def read_loss(self) -> float:
        loss, self._sum = self._sum, 0.0
        return loss

    def score(self, parameters: np.ndarray, X_BF: np.ndarray, T_BO: np.ndarray) -> tuple[float, int]:
        A_BO = self.predict(parameters, X_BF)
        if A_BO.shape[1] > 1:
            right = np.argmax(A_BO, axis=1) == np.argmax(T_BO, axis=1)
        else:
            # a probability, or a hinge's margin
            right = ((0.5 if self._loss.natural else 0.0) < A_BO) == (T_BO > 0.5)
        return self._loss.value(A_BO, T_BO), int(np.count_nonzero(right))

    def run(
        self,
        parameters: np.ndarray,
        moments: np.ndarray,
        count: int,
        optimizer: Optimizer,
        batches: Iterable[Batch],
        gradient: np.ndarray,
    ) -> None:
        learner.run(self, parameters, moments, count, optimizer, batches, gradient)

    def name(self, index: int) -> str:
        return self.layout.name(index)

    def _forward(self, parameters: np.ndarray, X_BF: np.ndarray) -> list[np.ndarray]:
        activations, _, zeros, _ = self._workspace(len(X_BF))
        A_BI = X_BF
        for layer, (W_IO, b_O) in enumerate(self._layers(parameters)):
            A_BO = activations[layer]
            np.dot(A_BI, W_IO, out=A_BO)
            A_BO += b_O
            self._activations[layer].forward(A_BO, zeros[layer])
            A_BI = A_BO
        return activations

    def _regularize(self, weights: Layers, gradients: Layers) -> None:
        for (W_IO, _), (dW_IO, _) in zip(weights, gradients, strict=True):
            if self._l2:
                dW_IO += self._l2 * W_IO
            if self._l1:
                dW_IO += self._l1 * np.sign(W_IO)

    def _workspace(self, examples: int) -> _Buffers:
        if examples not in self._buffers:
            activations, deltas, zeros = (
                [np.zeros((examples, outputs), self.dtype) for _, outputs in self.layout.layers] for _ in range(3)
            )
            self._buffers[examples] = _Buffers(activations, deltas, zeros, np.ones(examples, self.dtype))
        return self._buffers[examples]

    def _layers(self, vector: np.ndarray) -> Layers:
        """Views into `vector`, remembered: it is one of a few vectors that live as long as the run."""
        known = self._views.get(id(vector))
        if known is None:
            if len(self._views) > 64:
                self._views.clear()
            known = self._views[id(vector)] = (vector, self.layout.views(vector))
        return known[1]
