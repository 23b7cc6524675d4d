"""Passes compiled by numba, with the bits of numpy's."""

from typing import final

import numpy as np

from psgd import native
from psgd.learners import kernels
from psgd.learners.passes import NumpyPasses, Passes
from psgd.learners.room import Room
from psgd.products import accumulator, in_two_passes

ENOUGH = 10000  # parameters and outputs, over all tries: few numbers might agree by chance
_KINDS = {"identity": kernels.IDENTITY, "relu": kernels.RELU, "sigmoid": kernels.SIGMOID, "tanh": kernels.TANH}


@final
class CompiledPasses:
    """As `plain` makes them. Where numpy turns out to go another way than is known here, they are left to `plain`."""

    def __init__(self, plain: NumpyPasses, examples: int) -> None:
        """To begin with, for so many `examples`. LookupError if these layers, or numpy's BLAS, are unknown here."""
        if not _KINDS.keys() >= set(plain.activations[:-1]):
            raise LookupError(f"an activation of {plain.activations}")
        accumulator(plain.dtype)  # so that scipy's BLAS has one thread
        self._plain = plain
        self._routines = (
            native.of_numpys_blas("gemm", plain.dtype),
            native.of_numpys_blas("gemv", plain.dtype),
            native.scipy_gemm(plain.dtype),
            *native.ufunc_loop(np.exp, plain.dtype),
            *native.ufunc_loop(np.tanh, plain.dtype),
        )
        self._ways: dict[int, Passes] = {}  # by the number of examples
        self._find(examples)  # now, since compiling takes its time

    def forward(self, parameters: np.ndarray, X_BI: np.ndarray) -> Room:
        way = self._ways.get(len(X_BI)) or self._find(len(X_BI))
        return way.forward(parameters, X_BI)

    def gradient(self, parameters: np.ndarray, X_BI: np.ndarray, out: np.ndarray) -> None:
        self._ways[len(X_BI)].gradient(parameters, X_BI, out)

    def descend(self, parameters: np.ndarray, X_BI: np.ndarray, alpha: float, keep: float) -> None:
        self._ways[len(X_BI)].descend(parameters, X_BI, alpha, keep)

    def _find(self, examples: int) -> Passes:
        way = self._ways[examples] = self._network(examples) or self._plain
        return way

    def _network(self, examples: int) -> "Network | None":
        """If it does to made numbers what numpy does, to the last bit."""
        if examples == 1 in self._plain.layout.sizes[1:]:  # of two vectors, numpy takes the dot product
            return None
        network, plain = Network(self._plain, examples, self._routines), self._plain
        numbers = plain.layout.size + examples * plain.layout.sizes[-1]
        with np.errstate(all="ignore"):
            for seed in range(1 + ENOUGH // numbers):
                if _made(network, plain, examples, seed) != _made(plain, plain, examples, seed):
                    return None
        return network


@final
class Network:
    """The kernels over the rooms that `plain` has for so many examples."""

    def __init__(self, plain: NumpyPasses, examples: int, routines: tuple[int, ...]) -> None:
        rooms, features = plain.rooms(examples), plain.layout.sizes[0]
        self._layers = np.zeros(1 + len(rooms), kernels.LAYER)
        self._layers["examples"] = examples
        batch, *layers = self._layers
        batch["outputs"], batch["by_example"], batch["line"] = features, examples > 1, 1  # one is a column to numpy
        begin = spare = 0
        each = zip(layers, rooms, plain.layout.layers, plain.activations, strict=True)
        for layer, room, (inputs, outputs), activation in each:
            weights = (inputs + 1) * outputs
            layer["inputs"], layer["outputs"], layer["weights"] = inputs + 1, outputs, begin
            layer["activation"] = _KINDS.get(activation, kernels.OTHER)
            layer["A"], layer["D"] = room.A_IB.ctypes.data, room.D_OB.ctypes.data
            layer["by_example"], layer["line"] = room.by_example, outputs + 1 if room.by_example else examples
            layer["transposed"] = room.product_BO is not None
            layer["two_passes"] = not room.by_example and in_two_passes(weights, examples)
            begin += weights
            spare = max(spare, layer["transposed"] * outputs * examples, layer["two_passes"] * weights)
        self._spare = np.empty(spare, plain.dtype)
        self._routines = np.array([(*routines, self._spare.ctypes.data)], kernels.ROUTINES)
        self._room, self._left_to_numpy = rooms[-1], activation not in _KINDS
        self._number = plain.dtype.type

    def forward(self, parameters: np.ndarray, X_BI: np.ndarray) -> Room:
        kernels.forward(parameters, X_BI, self._layers, self._routines)
        if self._left_to_numpy:
            self._room.forward()
        return self._room

    def gradient(self, parameters: np.ndarray, X_BI: np.ndarray, out: np.ndarray) -> None:
        kernels.gradient(parameters, self._layers, self._routines, out)

    def descend(self, parameters: np.ndarray, X_BI: np.ndarray, alpha: float, keep: float) -> None:
        kernels.descend(parameters, self._layers, self._routines, self._number(alpha), self._number(keep))


def _made(passes: Passes, plain: NumpyPasses, examples: int, seed: int) -> list[bytes]:
    """What comes of a step of each kind."""
    draw, layout = np.random.default_rng(seed), plain.layout
    parameters = draw.normal(0.0, 0.1, layout.size).astype(plain.dtype)
    X_BI = draw.normal(size=(examples, layout.sizes[0] + 1)).astype(plain.dtype)
    room, gradient = passes.forward(parameters, X_BI), np.empty_like(parameters)
    outputs = room.A_OB.tobytes()
    room.D_OB[:] = draw.normal(size=room.D_OB.shape)
    passes.gradient(parameters, X_BI, gradient)
    passes.descend(parameters, X_BI, -0.01, 0.99)
    return [outputs, gradient.tobytes(), parameters.tobytes()]
