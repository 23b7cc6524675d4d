"""numpy as a backend."""

from typing import final

from psgd.backends.backend import Network, Update
from psgd.backends.numpy import updates
from psgd.backends.numpy.gathering import gather
from psgd.backends.numpy.network_passes import NumpyPasses


@final
class NumpyBackend:
    name = "numpy"
    gather = staticmethod(gather)

    def passes(self, network: Network) -> NumpyPasses:
        return NumpyPasses(network)

    def update(self, rule: str) -> Update:
        return updates.by_blocks(updates.RULES[rule])


NUMPY = NumpyBackend()
