"""Passes compiled by numba, with the bits of numpy's."""

from hashlib import sha256
from typing import final

import numpy as np

from psgd.backends.numba import native, records
from psgd.backends.numba.machine_code import kernels
from psgd.backends.numpy.layer_buffers import LayerBuffers
from psgd.backends.numpy.network_passes import NumpyPasses, Passes
from psgd.backends.numpy.products import accumulator, in_two_passes

ENOUGH = 10000  # parameters and outputs, over all tries: few numbers might agree by chance
_KINDS = {"identity": records.IDENTITY, "relu": records.RELU, "sigmoid": records.SIGMOID, "tanh": records.TANH}


@final
class CompiledPasses:
    """As `plain` makes them. Where numpy turns out to go another way than is known here, they are left to `plain`."""

    def __init__(self, plain: NumpyPasses, examples: int, descends: bool) -> None:
        """To begin with, for so many `examples`; `descends`: whether descents are wanted, which need scipy's BLAS, and
        not the gradient alone. LookupError if these layers, or numpy's BLAS, are unknown here."""
        if not _KINDS.keys() >= set(plain.activations[:-1]):
            raise LookupError(f"an activation of {plain.activations}")
        if descends:
            accumulator(plain.dtype)  # so that scipy's BLAS has one thread
        self._plain, self._descends = plain, descends
        self._routines = (
            native.of_numpys_blas("gemm", plain.dtype),
            native.of_numpys_blas("gemv", plain.dtype),
            native.scipy_gemm(plain.dtype) if descends else 0,
            *native.ufunc_loop(np.exp, plain.dtype),
            *native.ufunc_loop(np.tanh, plain.dtype),
        )
        self._ways: dict[int, Passes] = {}  # by the number of examples
        self._find(examples)  # now, since compiling takes its time

    def forward(self, parameters: np.ndarray, X_BI: np.ndarray) -> LayerBuffers:
        way = self._ways.get(len(X_BI)) or self._find(len(X_BI))
        return way.forward(parameters, X_BI)

    def gradient(self, parameters: np.ndarray, X_BI: np.ndarray, out: np.ndarray) -> None:
        self._ways[len(X_BI)].gradient(parameters, X_BI, out)

    def descend(self, parameters: np.ndarray, X_BI: np.ndarray, alpha: float, keep: float) -> None:
        way = self._ways[len(X_BI)] if self._descends else self._plain
        way.descend(parameters, X_BI, alpha, keep)

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
                if self._made(network, examples, seed) != self._made(plain, examples, seed):
                    return None
        return network

    def _made(self, passes: Passes, examples: int, seed: int) -> list[bytes]:
        """What comes of a step of each kind: a digest, since it may be large."""
        draw, layout, dtype = np.random.default_rng(seed), self._plain.layout, self._plain.dtype
        parameters = draw.standard_normal(layout.size, dtype)
        parameters *= dtype.type(0.1)
        X_BI = draw.standard_normal((examples, layout.sizes[0] + 1), dtype)
        room = passes.forward(parameters, X_BI)
        made = [sha256(room.A_OB.tobytes())]
        room.D_OB[:] = draw.standard_normal(room.D_OB.shape, dtype)
        gradient = np.empty_like(parameters)
        passes.gradient(parameters, X_BI, gradient)
        made.append(sha256(gradient.data))
        if self._descends:
            passes.descend(parameters, X_BI, -0.01, 0.99)
            made.append(sha256(parameters.data))
        return [each.digest() for each in made]


@final
class Network:
    """The kernels over the rooms that `plain` has for so many examples. What numpy hands to it has no gaps, except that
    examples may have them."""

    def __init__(self, plain: NumpyPasses, examples: int, routines: tuple[int, ...]) -> None:
        rooms, features = plain.rooms(examples), plain.layout.sizes[0]
        self._layers = np.zeros(1 + len(rooms), records.LAYER)
        self._layers["examples"] = examples
        batch, *layers = self._layers
        batch["outputs"], batch["by_example"], batch["line"] = features, examples > 1, 1  # one is a column to numpy
        begin = spare = 0
        each = zip(layers, rooms, plain.layout.layers, plain.activations, strict=True)
        for layer, room, (inputs, outputs), activation in each:
            weights = (inputs + 1) * outputs
            layer["inputs"], layer["outputs"], layer["weights"] = inputs + 1, outputs, begin
            layer["activation"] = _KINDS.get(activation, records.OTHER)
            layer["A"], layer["D"] = room.A_IB.ctypes.data, room.D_OB.ctypes.data
            layer["by_example"], layer["line"] = room.by_example, outputs + 1 if room.by_example else examples
            layer["transposed"] = room.product_BO is not None
            layer["two_passes"] = not room.by_example and in_two_passes(weights, examples)
            begin += weights
            spare = max(spare, layer["transposed"] * outputs * examples, layer["two_passes"] * weights)
        self._spare = np.empty(spare, plain.dtype)
        self._routines = np.array([(*routines, self._spare.ctypes.data)], records.ROUTINES)
        self._room, self._left_to_numpy = rooms[-1], activation not in _KINDS
        functions = kernels(plain.dtype)
        self._forward, self._gradient, self._descend = (functions[name] for name in ("forward", "gradient", "descend"))

    def forward(self, parameters: np.ndarray, X_BI: np.ndarray) -> LayerBuffers:
        self._forward(parameters, X_BI, self._layers, self._routines)
        if self._left_to_numpy:
            self._room.forward()
        return self._room

    def gradient(self, parameters: np.ndarray, X_BI: np.ndarray, out: np.ndarray) -> None:
        self._gradient(parameters, self._layers, self._routines, out)

    def descend(self, parameters: np.ndarray, X_BI: np.ndarray, alpha: float, keep: float) -> None:
        self._descend(parameters, self._layers, self._routines, alpha, keep)
