"""Where each layer's weights and biases lie in the flat parameter vector."""

from dataclasses import dataclass
from itertools import accumulate, pairwise
from typing import final

import numpy as np


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
        """(inputs, outputs, index of the first weight) of every layer."""
        starts = accumulate(((inputs + 1) * outputs for inputs, outputs in pairwise(self.sizes)), initial=0)
        return [(*layer, start) for layer, start in zip(pairwise(self.sizes), starts, strict=False)]

    def matrices(self, vector: np.ndarray) -> list[np.ndarray]:
        """(I + 1, O) of every layer, the biases as the last row: views into `vector` (P,)."""
        return [
            vector[start : start + (inputs + 1) * outputs].reshape(inputs + 1, outputs)
            for inputs, outputs, start in self.layers
        ]

    def views(self, vector: np.ndarray) -> list[tuple[np.ndarray, np.ndarray]]:
        """(W_IO, b_O) of every layer: views into `vector` (P,), nothing is copied."""
        return [(matrix[:-1], matrix[-1]) for matrix in self.matrices(vector)]

    def name(self, index: int) -> str:
        """The layer and kind of the parameter `index`; the loss if beyond."""
        for number, (inputs, outputs, start) in enumerate(self.layers, 1):
            if index < start + inputs * outputs:
                return f"layer {number} weights"
            if index < start + (inputs + 1) * outputs:
                return f"layer {number} biases"
        return "the loss"
