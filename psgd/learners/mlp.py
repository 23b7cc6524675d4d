"""The multilayer perceptron over one flat vector. No hidden layer makes it a linear model.

Shapes: B examples, I inputs and O outputs of a layer. Buffers for a batch size are made once and reused.
"""

from collections.abc import Callable, Iterable
from typing import NamedTuple, final

import numpy as np

from psgd.learners import learner
from psgd.learners.activations import ACTIVATIONS, Activation, Space, space
from psgd.learners.initial import initial
from psgd.learners.layout import Layers, Layout
from psgd.learners.learner import Batch
from psgd.learners.losses import Loss
from psgd.learners.tally import Tally
from psgd.optimizer.optimizer import Optimizer
from psgd.optimizer.schedule import Schedule
from psgd.products import accumulate

Use = Callable[[int, np.ndarray, np.ndarray, np.ndarray], None]  # (layer, A_BI, D_BO, ones_B)


class _Buffers(NamedTuple):
    """For one number of examples, by layer."""

    activations: list[np.ndarray]
    deltas: list[np.ndarray]
    spaces: list[Space]
    transposed: list[np.ndarray]  # (I, B)
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
        self._tally = Tally(loss, sizes[-1], self.dtype)
        self._views: dict[int, tuple[np.ndarray, Layers]] = {}
        self._buffers: dict[int, _Buffers] = {}

    def initial(self, seed: int) -> np.ndarray:
        return initial(self.layout, self._initializer, self._constant, seed, self.dtype)

    def predict(self, parameters: np.ndarray, X_BF: np.ndarray) -> np.ndarray:
        """The outputs (B, O), in a buffer that the next call with as many examples overwrites."""
        return self._forward(self._layers(parameters), X_BF)[-1]

    def gradient(self, parameters: np.ndarray, batch: Batch, out: np.ndarray) -> None:
        weights, gradients = self._layers(parameters), self._layers(out)

        def write(layer: int, A_BI: np.ndarray, D_BO: np.ndarray, ones_B: np.ndarray) -> None:
            dW_IO, db_O = gradients[layer]
            np.dot(A_BI.T, D_BO, out=dW_IO)
            np.dot(ones_B, D_BO, out=db_O)

        self._propagate(weights, batch, 1.0 / len(batch.T_BO), write)
        if self._l1 or self._l2:
            self._regularize(weights, gradients)

    def read_loss(self) -> float:
        return self._tally.read()

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
        """Plain SGD updates the weights by the products that give the gradient; it is the default but for rounding."""
        if optimizer.plain and not self._l1:
            self._descend(parameters, optimizer.schedule, batches)
        else:
            learner.run(self, parameters, moments, count, optimizer, batches, gradient)

    def name(self, index: int) -> str:
        return self.layout.name(index)

    def _forward(self, weights: Layers, X_BF: np.ndarray) -> list[np.ndarray]:
        buffers = self._workspace(len(X_BF))
        A_BI = X_BF
        for layer, (W_IO, b_O) in enumerate(weights):
            A_BO = buffers.activations[layer]
            np.dot(A_BI, W_IO, out=A_BO)
            np.add(A_BO, b_O, out=A_BO)
            self._activations[layer].forward(A_BO, buffers.spaces[layer])
            A_BI = A_BO
        return buffers.activations

    def _propagate(self, weights: Layers, batch: Batch, scale: float, use: Use) -> None:
        """Forth and back. `use` gets each layer's inputs and deltas, times `scale`, when its weights are needed no
        more."""
        X_BF, T_BO, _ = batch
        activations = self._forward(weights, X_BF)
        _, deltas, spaces, transposed, ones_B = self._workspace(len(X_BF))
        A_BO, D_BO = activations[-1], deltas[-1]
        self._tally.note(A_BO, T_BO)
        if self._natural:
            np.subtract(A_BO, T_BO, out=D_BO)
        else:
            self._loss.slope(A_BO, T_BO, D_BO)
            self._activations[-1].backward(A_BO, D_BO, spaces[-1])
        if scale != 1.0:
            D_BO *= scale
        for layer in range(len(weights) - 1, 0, -1):
            A_BI, D_BI, D_BO = activations[layer - 1], deltas[layer - 1], deltas[layer]
            _times_transposed(D_BO, weights[layer][0], D_BI, transposed[layer - 1])
            self._activations[layer - 1].backward(A_BI, D_BI, spaces[layer - 1])
            use(layer, A_BI, D_BO, ones_B)
        use(0, X_BF, deltas[0], ones_B)

    def _descend(self, parameters: np.ndarray, schedule: Schedule, batches: Iterable[Batch]) -> None:
        """W <- (1 - rate l2) W - rate A^T D / B, likewise the biases without l2."""
        weights = self._layers(parameters)

        def descend(layer: int, A_BI: np.ndarray, D_BO: np.ndarray, ones_B: np.ndarray) -> None:
            W_IO, b_O = weights[layer]
            accumulate(W_IO, A_BI, D_BO, alpha, beta)
            accumulate(b_O[None], ones_B[:, None], D_BO, alpha)

        for batch in batches:
            rate = schedule.rate(batch.epoch)
            alpha, beta = -rate / len(batch.T_BO), 1.0 - rate * self._l2
            self._propagate(weights, batch, 1.0, descend)

    def _regularize(self, weights: Layers, gradients: Layers) -> None:
        for (W_IO, _), (dW_IO, _) in zip(weights, gradients, strict=True):
            if self._l2:
                dW_IO += self._l2 * W_IO
            if self._l1:
                dW_IO += self._l1 * np.sign(W_IO)

    def _workspace(self, examples: int) -> _Buffers:
        if examples not in self._buffers:
            outputs = [o for _, o in self.layout.layers]
            activations, deltas = ([np.zeros((examples, o), self.dtype) for o in outputs] for _ in range(2))
            transposed = [np.empty((o, examples), self.dtype) for o in outputs]
            spaces = [space(examples, o, self.dtype) for o in outputs]
            self._buffers[examples] = _Buffers(activations, deltas, spaces, transposed, np.ones(examples, self.dtype))
        return self._buffers[examples]

    def _layers(self, vector: np.ndarray) -> Layers:
        """Views into `vector`, remembered: it is one of a few vectors that live as long as the run."""
        known = self._views.get(id(vector))
        if known is None:
            if len(self._views) > 64:
                self._views.clear()
            known = self._views[id(vector)] = (vector, self.layout.views(vector))
        return known[1]


def _times_transposed(D_BO: np.ndarray, W_IO: np.ndarray, out_BI: np.ndarray, spare_IB: np.ndarray) -> None:
    """out = D W^T. BLAS is slow to transpose W, so where W is the larger its product with D^T is transposed instead."""
    if len(W_IO.T) > 4 * len(D_BO):
        np.dot(W_IO, D_BO.T, out=spare_IB)
        np.copyto(out_BI, spare_IB.T)
    else:
        np.dot(D_BO, W_IO.T, out=out_BI)
