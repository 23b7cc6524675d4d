"""The backend of numpy's calls and scipy's BLAS."""

from typing import final

import numpy as np

from psgd.backends.backend import Network, Update
from psgd.backends.numpy import updates
from psgd.backends.numpy.network_passes import NumpyPasses

# Elements that are scaled at a time, while they are in the cache: 1 MiB of float32. Larger parts mean fewer calls.
SCALED_ELEMENTS = 262144


@final
class NumpyBackend:
    name = "numpy"

    def passes(self, network: Network) -> NumpyPasses:
        return NumpyPasses(network)

    def update(self, rule: str) -> Update:
        return updates.by_blocks(updates.RULES[rule])

    @staticmethod
    def gather(inputs: np.ndarray, rows: np.ndarray | slice, scale: float, X_BI: np.ndarray) -> None:
        picked = inputs[rows] if isinstance(rows, slice) else inputs.take(rows, axis=0)
        if scale == 1.0:
            np.copyto(X_BI[:, :-1], picked, casting="same_kind")
        else:
            factor, size = X_BI.dtype.type(scale), max(1, SCALED_ELEMENTS // X_BI.shape[1])
            for start in range(0, len(X_BI), size):
                part = X_BI[start : start + size]
                np.copyto(part[:, :-1], picked[start : start + size], casting="same_kind")
                np.multiply(part, factor, part)  # the ones too, since numpy is slow on rows with gaps
        X_BI[:, -1] = 1.0


NUMPY = NumpyBackend()
