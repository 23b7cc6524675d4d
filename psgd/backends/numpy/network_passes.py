"""Forward and backward passes through a network by as few calls of numpy as possible.

Shapes: B examples, I inputs of a layer with the constant 1, O outputs. A bias is the weight of the constant 1, so
products include biases. Outputs and deltas are (O, B), so that the next layer's constant 1 is a row.
"""

from typing import final

import numpy as np

from psgd.backends.backend import Network, Outputs
from psgd.backends.layer_plan import LayerPlan, plan_layers
from psgd.backends.layout import LayerViews
from psgd.backends.numpy.activations import ACTIVATIONS
from psgd.backends.numpy.layer_buffers import LayerBuffers
from psgd.backends.numpy.products import Accumulate, accumulator


@final
class BatchBuffers:
    """The arrays that the passes overwrite, for one batch size."""

    def __init__(self, network: Network, examples: int) -> None:
        dtype = network.dtype
        self.plans: list[LayerPlan] = plan_layers(network.layout, examples)
        last = len(self.plans) - 1
        self.layers = [
            LayerBuffers(
                *(plan.outputs, examples, ACTIVATIONS[name], dtype, plan.by_example),
                keeps_logits=number == last and network.canonical_loss,
            )
            for number, (plan, name) in enumerate(zip(self.plans, network.activations, strict=True))
        ]
        self.last = self.layers[-1]
        first = self.plans[0]
        self.product_BO = np.empty((examples, first.outputs), dtype) if first.transposes_product else None
        self.share = 1.0 / examples if examples else 0.0


@final
class NumpyPasses:
    def __init__(self, network: Network) -> None:
        self.network = network
        self._weights = LayerViews(network.layout)
        self._buffers: dict[int, BatchBuffers] = {}
        self._accumulate: Accumulate | None = None

    def buffers(self, examples: int) -> BatchBuffers:
        if examples not in self._buffers:
            self._buffers[examples] = BatchBuffers(self.network, examples)
        return self._buffers[examples]

    def forward(self, parameters: np.ndarray, X_BI: np.ndarray, T_BO: np.ndarray | None = None) -> Outputs:
        buffers = self._buffers.get(len(X_BI)) or self.buffers(len(X_BI))
        A_IB, product_BO = X_BI.T, buffers.product_BO
        for (W_IO, W_OI, _), layer in zip(self._weights.of(parameters), buffers.layers, strict=True):
            if product_BO is None:
                layer.multiply(W_OI, A_IB, layer.Z_OB)
            else:
                np.dot(X_BI, W_IO, product_BO)
                np.copyto(layer.Z_OB, product_BO.T)
                product_BO = None  # for the first layer only
            layer.forward()
            A_IB = layer.A_IB
        outputs = buffers.last.outputs
        if T_BO is not None:
            np.subtract(outputs.A_OB, T_BO.T, outputs.D_OB)
        return outputs

    def gradient(self, parameters: np.ndarray, X_BI: np.ndarray, out: np.ndarray) -> None:
        weights, gradients, buffers = self._weights.of(parameters), self._weights.of(out), self._buffers[len(X_BI)]
        layers, layer = buffers.layers, buffers.last
        if not self.network.canonical_loss:
            layer.backward()
        layer.D_OB *= buffers.share
        for number in range(len(layers) - 1, 0, -1):
            below = layers[number - 1]
            below.multiply(weights[number].inner_IO, layer.D_OB, below.D_OB)
            layer.multiply(below.A_IB, layer.D_OB.T, gradients[number].W_IO)
            below.backward()
            layer = below
        layer.multiply(X_BI.T, layer.D_OB.T, gradients[0].W_IO)

    def descend(self, parameters: np.ndarray, X_BI: np.ndarray, alpha: float, keep: float) -> None:
        weights, buffers = self._weights.of(parameters), self._buffers[len(X_BI)]
        accumulate = self._accumulate = self._accumulate or accumulator(self.network.dtype)
        layers, plans, layer = buffers.layers, buffers.plans, buffers.last
        if not self.network.canonical_loss:
            layer.backward()
        for number in range(len(layers) - 1, 0, -1):
            (_, W_OI, inner_IO), below = weights[number], layers[number - 1]
            below.multiply(inner_IO, layer.D_OB, below.D_OB)
            if keep != 1.0:
                inner_IO *= keep
            accumulate(W_OI, below.A_IB, layer.D_OB, alpha, plans[number].two_passes)
            below.backward()
            layer = below
        _, W_OI, inner_IO = weights[0]
        if keep != 1.0:
            inner_IO *= keep
        accumulate(W_OI, X_BI.T, layer.D_OB, alpha, plans[0].two_passes)
