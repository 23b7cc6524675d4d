"""The backend of compiled kernels."""

from typing import final

import numpy as np

from psgd.backends.backend import Network, Update
from psgd.backends.numba import updates
from psgd.backends.numba.gathering import gather_rows
from psgd.backends.numba.network_passes import NumbaPasses, compile_network
from psgd.backends.numpy.backend import NUMPY

_GATHERED = {np.dtype(kind) for kind in (np.uint8, np.float32, np.float64)}  # others are left to numpy


@final
class NumbaBackend:
    name = "numba"

    def __init__(self, examples: int, descends: bool = True) -> None:
        """`examples`: the batch size that kernels compute; numpy computes others. `descends`: whether they compute
        `Passes.descend`, which needs scipy's BLAS, too."""
        self._examples, self._descends = examples, descends
        self._proven: set[Network] = set()

    def passes(self, network: Network) -> NumbaPasses:
        """LookupError if kernels cannot have numpy's bits, which is tested once for each network."""
        passes = compile_network(NUMPY.passes(network), self._examples, self._descends, proven=network in self._proven)
        self._proven.add(network)
        return passes

    def update(self, rule: str) -> Update:
        return updates.in_one_pass(updates.KERNELS[rule])

    def gather(self, inputs: np.ndarray, rows: np.ndarray | slice, scale: float, X_BI: np.ndarray) -> None:
        if isinstance(rows, slice) or inputs.dtype not in _GATHERED:
            NUMPY.gather(inputs, rows, scale, X_BI)
        else:
            gather_rows(inputs, rows, scale, X_BI)
