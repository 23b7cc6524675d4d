"""The multilayer perceptron over one flat vector. No hidden layer makes it a linear model.

Shapes: B examples, I inputs of a layer with the constant one, O outputs. A bias is the weight of the one: products do
biases too. Outputs and deltas are kept as (O, B), so that the next layer's one is a row and nothing has gaps; buffers
for a batch size are made once and reused.
"""

from collections.abc import Callable, Iterable
from typing import NamedTuple, final

import numpy as np

from psgd.learners import learner
from psgd.learners.activations import ACTIVATIONS, Activation
from psgd.learners.initial import initial
from psgd.learners.layout import Layout
from psgd.learners.learner import Batch
from psgd.learners.losses import Loss
from psgd.learners.output import Output
from psgd.learners.room import Room
from psgd.optimizer.optimizer import Optimizer
from psgd.optimizer.schedule import Schedule
from psgd.products import LARGE, accumulator

MANY = 500  # examples, of which it does not matter any more how their slopes lie

Use = Callable[[int, np.ndarray, Room], None]  # (layer, its inputs A_IB, its room)


class _Weights(NamedTuple):
    """One layer's, views of one memory."""

    W_IO: np.ndarray  # with the biases, as the last row
    W_OI: np.ndarray
    inner: np.ndarray  # (I - 1, O), without


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
        self._output = Output(loss, output)
        self._initializer, self._constant = initializer, constant
        self._l1, self._l2 = l1, l2
        self._views: dict[int, tuple[np.ndarray, list[_Weights]]] = {}
        self._rooms: dict[int, list[Room]] = {}

    def initial(self, seed: int) -> np.ndarray:
        return initial(self.layout, self._initializer, self._constant, seed, self.dtype)

    def predict(self, parameters: np.ndarray, X_BI: np.ndarray) -> np.ndarray:
        """The outputs (B, O), in a buffer that the next call with as many examples overwrites."""
        return self._forward(self._weights(parameters), X_BI)[-1].A_OB.T

    def gradient(self, parameters: np.ndarray, batch: Batch, out: np.ndarray) -> None:
        weights, gradients = self._weights(parameters), self._weights(out)

        def write(layer: int, A_IB: np.ndarray, room: Room) -> None:
            room.multiply(A_IB, room.D_OB.T, gradients[layer].W_IO)

        self._propagate(weights, batch, 1.0 / len(batch.T_BO), write)
        if self._l1 or self._l2:
            self._regularize(weights, gradients)

    def read_loss(self) -> float:
        return self._output.read()

    def score(self, parameters: np.ndarray, X_BI: np.ndarray, T_BO: np.ndarray) -> tuple[float, int]:
        A_BO = self.predict(parameters, X_BI)
        if A_BO.shape[1] > 1:
            right = np.argmax(A_BO, axis=1) == np.argmax(T_BO, axis=1)
        else:
            # a probability, or a hinge's margin
            right = ((0.5 if self._loss.natural else 0.0) < A_BO) == (T_BO > 0.5)
        return self._loss.value(A_BO.T, T_BO.T), int(np.count_nonzero(right))

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

    def _forward(self, weights: list[_Weights], X_BI: np.ndarray) -> list[Room]:
        rooms = self._rooms.get(len(X_BI)) or self._make_rooms(len(X_BI))
        A_IB = X_BI.T
        for (W_IO, W_OI, _), room in zip(weights, rooms, strict=True):
            if room.product_BO is None:
                room.multiply(W_OI, A_IB, room.A_OB)
            else:
                np.dot(A_IB.T, W_IO, room.product_BO)
                np.copyto(room.A_OB, room.product_BO.T)
            room.forward()
            A_IB = room.A_IB
        return rooms

    def _propagate(self, weights: list[_Weights], batch: Batch, scale: float, use: Use) -> None:
        """Forth and back. `use` gets each layer's inputs and deltas, times `scale`, when its weights are needed no
        more."""
        X_BI, T_BO, _ = batch
        rooms = self._forward(weights, X_BI)
        self._output.slope(rooms[-1], T_BO.T)
        if scale != 1.0:
            rooms[-1].D_OB *= scale
        for layer in range(len(rooms) - 1, 0, -1):
            under, room = rooms[layer - 1 : layer + 1]
            under.multiply(weights[layer].inner, room.D_OB, under.D_OB)
            use(layer, under.A_IB, room)
            under.backward()
        use(0, X_BI.T, rooms[0])

    def _descend(self, parameters: np.ndarray, schedule: Schedule, batches: Iterable[Batch]) -> None:
        """W <- (1 - rate l2) W - rate A D^T / B, where l2 leaves the biases alone."""
        weights, accumulate = self._weights(parameters), accumulator(self.dtype)

        def descend(layer: int, A_IB: np.ndarray, room: Room) -> None:
            if self._l2:
                weights[layer].inner[:] *= 1.0 - rate * self._l2
            accumulate(weights[layer].W_OI, A_IB, room.D_OB, alpha)

        for batch in batches:
            rate = schedule.rate(batch.epoch)
            alpha = -rate / len(batch.T_BO)
            self._propagate(weights, batch, 1.0, descend)

    def _regularize(self, weights: list[_Weights], gradients: list[_Weights]) -> None:
        for (*_, W), (*_, dW) in zip(weights, gradients, strict=True):
            if self._l2:
                dW += self._l2 * W
            if self._l1:
                dW += self._l1 * np.sign(W)

    def _make_rooms(self, examples: int) -> list[Room]:
        inputs, *sizes = self.layout.sizes
        by_example = [self._by_example(examples)] * (len(sizes) - 1) + [False]
        each = zip(sizes, self._activations, by_example, strict=True)
        rooms = [Room(outputs, examples, activation, self.dtype, way) for outputs, activation, way in each]
        if inputs > 8 * sizes[0] and not by_example[0]:
            # BLAS takes long to transpose many inputs; where outputs are few, they are transposed instead.
            rooms[0].product_BO = np.empty((examples, sizes[0]), self.dtype)
        self._rooms[examples] = rooms
        return rooms

    def _by_example(self, examples: int) -> bool:
        """How outputs lie. Inputs come example by example, and BLAS is quickest if their outputs lie so too; but slopes
        that come back through weights lie better output by output, the more so the fewer examples there are."""
        first = (self.layout.sizes[0] + 1) * self.layout.sizes[1]
        return first >= LARGE and MANY * (self.layout.size - first) <= min(examples, MANY) * first

    def _weights(self, vector: np.ndarray) -> list[_Weights]:
        """Views into `vector`, remembered: it is one of a few vectors that live as long as the run."""
        known = self._views.get(id(vector))
        if known is None:
            if len(self._views) > 64:
                self._views.clear()
            weights = [_Weights(W_IO, W_IO.T, W_IO[:-1]) for W_IO in self.layout.matrices(vector)]
            known = self._views[id(vector)] = (vector, weights)
        return known[1]
