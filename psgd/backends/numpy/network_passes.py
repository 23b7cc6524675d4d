"""Forth and back through the layers of a network.

Shapes: B examples, I inputs of a layer with the constant one, O outputs. A bias is the weight of the one: products do
biases too. Outputs and deltas are kept as (O, B), so that the next layer's one is a row and nothing has gaps; buffers
for a batch size are made once and reused.
"""

from typing import Protocol, final

import numpy as np

from psgd.backends.layout import Layout
from psgd.backends.numpy.activations import ACTIVATIONS
from psgd.backends.numpy.layer_buffers import LayerBuffers
from psgd.backends.numpy.layer_views import LayerViews
from psgd.backends.numpy.products import LARGE, Accumulate, accumulator

MANY = 500  # examples, of which it does not matter any more how their slopes lie


class Passes(Protocol):
    def forward(self, parameters: np.ndarray, X_BI: np.ndarray) -> LayerBuffers:
        """The room of the last layer, with its outputs in it; a later pass over as many examples overwrites them."""
        ...

    def gradient(self, parameters: np.ndarray, X_BI: np.ndarray, out: np.ndarray) -> None:
        """Back from the slopes that were written to the last room: A D^T of each layer to `out` (P,)."""
        ...

    def descend(self, parameters: np.ndarray, X_BI: np.ndarray, alpha: float, keep: float) -> None:
        """Back too: W <- keep W + alpha A D^T, where the biases are kept as they are."""
        ...


@final
class NumpyPasses:
    """By numpy's calls, as few as possible."""

    def __init__(self, layout: Layout, activations: list[str], dtype: np.dtype) -> None:
        self.layout, self.activations, self.dtype = layout, activations, dtype  # one of each layer
        self.weights = LayerViews(layout)
        self._rooms: dict[int, list[LayerBuffers]] = {}
        self._accumulate: Accumulate | None = None

    def rooms(self, examples: int) -> list[LayerBuffers]:
        """One of each layer."""
        return self._rooms.get(examples) or self._make_rooms(examples)

    def forward(self, parameters: np.ndarray, X_BI: np.ndarray) -> LayerBuffers:
        rooms = self._rooms.get(len(X_BI)) or self.rooms(len(X_BI))
        A_IB = X_BI.T
        for (W_IO, W_OI, _), room in zip(self.weights.of(parameters), rooms, strict=True):
            if room.product_BO is None:
                room.multiply(W_OI, A_IB, room.A_OB)
            else:
                np.dot(A_IB.T, W_IO, room.product_BO)
                np.copyto(room.A_OB, room.product_BO.T)
            room.forward()
            A_IB = room.A_IB
        return rooms[-1]

    def gradient(self, parameters: np.ndarray, X_BI: np.ndarray, out: np.ndarray) -> None:
        weights, gradients, rooms = self.weights.of(parameters), self.weights.of(out), self._rooms[len(X_BI)]
        for layer in range(len(rooms) - 1, 0, -1):
            under, room = rooms[layer - 1 : layer + 1]
            under.multiply(weights[layer].inner, room.D_OB, under.D_OB)
            room.multiply(under.A_IB, room.D_OB.T, gradients[layer].W_IO)
            under.backward()
        rooms[0].multiply(X_BI.T, rooms[0].D_OB.T, gradients[0].W_IO)

    def descend(self, parameters: np.ndarray, X_BI: np.ndarray, alpha: float, keep: float) -> None:
        weights, rooms = self.weights.of(parameters), self._rooms[len(X_BI)]
        accumulate = self._accumulate = self._accumulate or accumulator(self.dtype)
        room = rooms[-1]
        for layer in range(len(rooms) - 1, 0, -1):
            (_, W_OI, inner), under = weights[layer], rooms[layer - 1]
            under.multiply(inner, room.D_OB, under.D_OB)
            if keep != 1.0:
                inner *= keep
            accumulate(W_OI, under.A_IB, room.D_OB, alpha)
            under.backward()
            room = under
        _, W_OI, inner = weights[0]
        if keep != 1.0:
            inner *= keep
        accumulate(W_OI, X_BI.T, room.D_OB, alpha)

    def _make_rooms(self, examples: int) -> list[LayerBuffers]:
        inputs, *sizes = self.layout.sizes
        by_example = [self._by_example(examples)] * (len(sizes) - 1) + [False]
        activations = [ACTIVATIONS[name] for name in self.activations]
        each = zip(sizes, activations, by_example, strict=True)
        rooms = [LayerBuffers(outputs, examples, activation, self.dtype, way) for outputs, activation, way in each]
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
