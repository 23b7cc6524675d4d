"""The layers' weights as views of one flat vector, made once for each vector."""

from typing import NamedTuple, final

import numpy as np

from psgd.backends.layout import Layout

REMEMBERED_VECTORS = 64  # a run has a few, which live as long as it does; more are kept alive by being remembered


class LayerWeights(NamedTuple):
    """Views of one layer's weights."""

    W_IO: np.ndarray  # with the biases as the last row
    W_OI: np.ndarray  # its transpose
    inner_IO: np.ndarray  # without the biases


@final
class LayerViews:
    def __init__(self, layout: Layout) -> None:
        self._layout = layout
        self._known: dict[int, tuple[np.ndarray, list[LayerWeights]]] = {}

    def of(self, vector: np.ndarray) -> list[LayerWeights]:
        """The views of each layer into `vector` (P,)."""
        known = self._known.get(id(vector))
        if known is None:
            if len(self._known) >= REMEMBERED_VECTORS:
                self._known.clear()
            weights = [LayerWeights(W_IO, W_IO.T, W_IO[:-1]) for W_IO in self._layout.matrices(vector)]
            known = self._known[id(vector)] = (vector, weights)
        return known[1]
