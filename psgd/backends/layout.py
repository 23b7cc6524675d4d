"""The layout of layers' weights and biases in the flat parameter vector, and views of them."""

from dataclasses import dataclass
from itertools import accumulate, pairwise
from typing import NamedTuple, final

import numpy as np

REMEMBERED_VECTORS = 64  # a run has a few, which live as long as it does; raised, more vectors are kept alive


@final
@dataclass(frozen=True)
class Layout:
    """Layers of a fully connected network, each W (I, O) followed by b (O,), row-major and without gaps."""

    sizes: tuple[int, ...]  # features, hidden ..., outputs

    @property
    def size(self) -> int:
        """P, the number of parameters."""
        return sum((inputs + 1) * outputs for inputs, outputs in pairwise(self.sizes))

    @property
    def layers(self) -> list[tuple[int, int, int]]:
        """(inputs, outputs, index of the first weight) of each layer."""
        starts = accumulate(((inputs + 1) * outputs for inputs, outputs in pairwise(self.sizes)), initial=0)
        return [(*layer, start) for layer, start in zip(pairwise(self.sizes), starts, strict=False)]

    def matrices(self, vector: np.ndarray) -> list[np.ndarray]:
        """Return each layer's weights (I + 1, O), whose last row is the biases: views into `vector` (P,)."""
        return [
            vector[start : start + (inputs + 1) * outputs].reshape(inputs + 1, outputs)
            for inputs, outputs, start in self.layers
        ]

    def views(self, vector: np.ndarray) -> list[tuple[np.ndarray, np.ndarray]]:
        """Return (W_IO, b_O) of each layer: views into `vector` (P,)."""
        return [(matrix[:-1], matrix[-1]) for matrix in self.matrices(vector)]

    def name(self, index: int) -> str:
        """Name the layer and kind of the parameter `index`, or "the loss" for an index behind the last."""
        for number, (inputs, outputs, start) in enumerate(self.layers, 1):
            if index < start + inputs * outputs:
                return f"layer {number} weights"
            if index < start + (inputs + 1) * outputs:
                return f"layer {number} biases"
        return "the loss"


class LayerWeights(NamedTuple):
    W_IO: np.ndarray  # with the biases as the last row
    W_OI: np.ndarray  # its transpose
    inner_IO: np.ndarray  # without the biases


@final
class LayerViews:
    """Views of parameter vectors and gradients, made once for each vector."""

    def __init__(self, layout: Layout) -> None:
        self._layout = layout
        self._known: dict[int, tuple[np.ndarray, list[LayerWeights]]] = {}

    def of(self, vector: np.ndarray) -> list[LayerWeights]:
        """Return each layer's views into `vector` (P,)."""
        known = self._known.get(id(vector))
        if known is None:
            if len(self._known) >= REMEMBERED_VECTORS:
                self._known.clear()
            weights = [LayerWeights(W_IO, W_IO.T, W_IO[:-1]) for W_IO in self._layout.matrices(vector)]
            known = self._known[id(vector)] = (vector, weights)
        return known[1]
