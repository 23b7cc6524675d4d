"""The layers' weights as views of one flat vector, made once for each vector."""

from typing import NamedTuple, final

import numpy as np

from psgd.backends.layout import Layout

MANY = 64  # vectors; a run has a few, which live as long as it does


class Weights(NamedTuple):
    """One layer's, views of one memory."""

    W_IO: np.ndarray  # with the biases, as the last row
    W_OI: np.ndarray
    inner: np.ndarray  # (I - 1, O), without


@final
class LayerViews:
    def __init__(self, layout: Layout) -> None:
        self._layout = layout
        self._known: dict[int, tuple[np.ndarray, list[Weights]]] = {}

    def of(self, vector: np.ndarray) -> list[Weights]:
        """Of each layer; they are remembered."""
        known = self._known.get(id(vector))
        if known is None:
            if len(self._known) > MANY:
                self._known.clear()
            weights = [Weights(W_IO, W_IO.T, W_IO[:-1]) for W_IO in self._layout.matrices(vector)]
            known = self._known[id(vector)] = (vector, weights)
        return known[1]
