"""The compiled passes of one network, whose bits are compared with numpy's before they are used."""

from hashlib import sha256
from typing import final

import numpy as np

from psgd.backends import native
from psgd.backends.backend import Network, Outputs, Passes
from psgd.backends.numba import network_kernels as kernels
from psgd.backends.numpy.network_passes import NumpyPasses
from psgd.backends.numpy.products import accumulator

# Parameters and outputs that trials compare, in all: enough for different arithmetic to show. Raised, it takes longer.
COMPARED_ELEMENTS = 10_000
_KINDS = {"identity": kernels.NONE, "relu": kernels.RELU, "sigmoid": kernels.SIGMOID, "tanh": kernels.TANH}


@final
class NumbaPasses:
    """Kernels over the buffers of `plain` for batches of `examples`. Batches of other sizes, as in evaluations, are
    left to `plain`, and so is `descend` unless `descends`."""

    def __init__(self, plain: NumpyPasses, examples: int, descends: bool) -> None:
        self._plain, self._examples, self._descends = plain, examples, descends
        (layout, activations, dtype, canonical_loss), buffers = plain.network, plain.buffers(examples)
        self._last, self._outputs = buffers.last, buffers.last.outputs
        self._no_targets = np.empty((0, 0), dtype)
        self._output_by_numpy = activations[-1] not in _KINDS
        self._output_back_by_numpy = self._output_by_numpy and not canonical_loss
        self._layers = np.zeros((1 + len(buffers.plans), kernels.FIELDS), np.int64)
        batch = self._layers[0]
        batch[kernels.OUTPUTS], batch[kernels.EXAMPLES], batch[kernels.LD] = layout.sizes[0], examples, 1
        batch[kernels.BY_EXAMPLE] = examples > 1  # numpy takes one example as a column
        each = zip(self._layers[1:], buffers.plans, buffers.layers, activations, strict=True)
        scratch = 0
        for row, plan, layer, activation in each:
            kind = _KINDS.get(activation, kernels.NONE)
            back = kernels.NONE if canonical_loss and layer is self._last else kind
            ld = plan.outputs + 1 if plan.by_example else examples
            row[:] = (
                *(plan.inputs, plan.outputs, plan.offset, examples),
                *(layer.Z_OB.ctypes.data, layer.A_IB.ctypes.data, layer.D_OB.ctypes.data, ld),
                *(plan.by_example, plan.transposes_product, plan.two_passes, kind, back),
            )
            scratch = max(
                scratch, plan.transposes_product * plan.outputs * examples, plan.two_passes * plan.inputs * plan.outputs
            )
        self._scratch = np.empty(scratch, dtype)
        gemm, gemv = native.numpy_blas("gemm", dtype), native.numpy_blas("gemv", dtype)
        exp, tanh = native.ufunc_loop(np.exp, dtype), native.ufunc_loop(np.tanh, dtype)
        scipy_gemm = native.scipy_gemm(dtype) if descends else 0
        self._routines = np.array([gemm, gemv, scipy_gemm, *exp, *tanh, self._scratch.ctypes.data])

    def forward(self, parameters: np.ndarray, X_BI: np.ndarray, T_BO: np.ndarray | None = None) -> Outputs:
        if len(X_BI) != self._examples:
            return self._plain.forward(parameters, X_BI, T_BO)
        targets = self._no_targets if T_BO is None or self._output_by_numpy else T_BO
        kernels.forward(parameters, X_BI, targets, self._layers, self._routines)
        if self._output_by_numpy:
            self._last.forward()
            if T_BO is not None:
                np.subtract(self._last.A_OB, T_BO.T, self._last.D_OB)
        return self._outputs

    def gradient(self, parameters: np.ndarray, X_BI: np.ndarray, out: np.ndarray) -> None:
        if len(X_BI) != self._examples:
            self._plain.gradient(parameters, X_BI, out)
            return
        if self._output_back_by_numpy:
            self._last.backward()
        kernels.gradient(parameters, self._layers, self._routines, out)

    def descend(self, parameters: np.ndarray, X_BI: np.ndarray, alpha: float, keep: float) -> None:
        if len(X_BI) != self._examples or not self._descends:
            self._plain.descend(parameters, X_BI, alpha, keep)
            return
        if self._output_back_by_numpy:
            self._last.backward()
        kernels.descend(parameters, self._layers, self._routines, alpha, keep)


def compile_network(plain: NumpyPasses, examples: int, descends: bool, proven: bool = False) -> NumbaPasses:
    """Return the compiled passes of a network for one batch size. LookupError if they cannot have numpy's bits: unless
    `proven`, results are compared."""
    network = plain.network
    unknown = [name for name in network.activations[:-1] if name not in _KINDS]
    if unknown:
        raise LookupError(f"has no compiled passes for hidden layers of {unknown[0]}")
    if examples == 1 in network.layout.sizes[1:]:
        # numpy multiplies two vectors by another routine
        raise LookupError("has no compiled passes for batches of one example and layers of one unit")
    if descends:
        accumulator(network.dtype)  # limits scipy's BLAS to one thread
    compiled = NumbaPasses(plain, examples, descends)
    trials = 0 if proven else 1 + COMPARED_ELEMENTS // (network.layout.size + examples * network.layout.sizes[-1])
    with np.errstate(all="ignore"):
        for seed in range(trials):
            if _results(compiled, network, examples, descends, seed) != _results(
                plain, network, examples, descends, seed
            ):
                raise LookupError("has other bits than numpy's on this machine")
    return compiled


def _results(passes: Passes, network: Network, examples: int, descends: bool, seed: int) -> bytes:
    """Return a digest of the results of one step of each kind on random numbers."""
    draw, layout, dtype = np.random.default_rng(seed), network.layout, network.dtype
    parameters = draw.standard_normal(layout.size, dtype)
    parameters *= dtype.type(0.1)
    X_BI = draw.standard_normal((examples, layout.sizes[0] + 1), dtype)
    T_BO = draw.standard_normal((examples, layout.sizes[-1]), dtype)
    gradient = np.empty_like(parameters)
    outputs = passes.forward(parameters, X_BI)
    digest = sha256(outputs.A_OB.tobytes())
    digest.update(outputs.Z_OB.tobytes())
    passes.forward(parameters, X_BI, T_BO)
    digest.update(outputs.D_OB.tobytes())
    passes.gradient(parameters, X_BI, gradient)
    digest.update(gradient.data)
    if descends:
        passes.forward(parameters, X_BI, T_BO)
        passes.descend(parameters, X_BI, -0.01, 0.99)
        digest.update(parameters.data)
    return digest.digest()
