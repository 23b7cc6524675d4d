"""numpy as a backend."""

from typing import final

import numpy as np

from psgd.backends.backend import Update
from psgd.backends.layout import Layout
from psgd.backends.numpy import updates
from psgd.backends.numpy.gathering import gather
from psgd.backends.numpy.network_passes import NumpyPasses


@final
class NumpyBackend:
    name = "numpy"
    gather = staticmethod(gather)

    def passes(self, layout: Layout, activations: tuple[str, ...], dtype: np.dtype, natural: bool) -> NumpyPasses:
        return NumpyPasses(layout, activations, dtype, natural)

    def update(self, rule: str) -> Update:
        return updates.by_blocks(updates.RULES[rule])


NUMPY = NumpyBackend()
