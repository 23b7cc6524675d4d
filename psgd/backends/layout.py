"""Where each layer's weights and biases lie in the flat parameter vector."""

from dataclasses import dataclass
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
        return sum((inputs + 1) * outputs for inputs, outputs in self.layers)

    @property
    def layers(self) -> list[tuple[int, int]]:
        """(inputs, outputs) of every layer."""
        return list(zip(self.sizes[:-1], self.sizes[1:], strict=True))

    def matrices(self, vector: np.ndarray) -> list[np.ndarray]:
        """(I + 1, O) of every layer, the biases as the last row: views into `vector` (P,)."""
        matrices, start = [], 0
        for inputs, outputs in self.layers:
            end = start + (inputs + 1) * outputs
            matrices.append(vector[start:end].reshape(inputs + 1, outputs))
            start = end
        return matrices

    def views(self, vector: np.ndarray) -> list[tuple[np.ndarray, np.ndarray]]:
        """(W_IO, b_O) of every layer: views into `vector` (P,), nothing is copied."""
        return [(matrix[:-1], matrix[-1]) for matrix in self.matrices(vector)]

    def name(self, index: int) -> str:
        """The layer and kind of the parameter `index`; the loss if beyond."""
        start = 0
        for number, (inputs, outputs) in enumerate(self.layers, 1):
            if index < start + inputs * outputs:
                return f"layer {number} weights"
            start += (inputs + 1) * outputs
            if index < start:
                return f"layer {number} biases"
        return "the loss"
