"""The pass forward: rows are gathered, and the network computes the logits of its last layer.

Shapes: W workers, B examples of each, I inputs and O outputs of a layer.
"""

from collections.abc import Sequence
from typing import final

from psgd.backends.cuda.buffers import THREADS, ForwardOperands, grid
from psgd.backends.cuda.device import Device, DeviceArray, Matrix, Product, Program
from psgd.backends.device_workers import DeviceTask

# The numbers that kernels/common.cu gives to activations and losses.
ACTIVATIONS = {"identity": 0, "relu": 1, "sigmoid": 2, "tanh": 3, "softmax": 4}
LOSSES = {"squared-error": 0, "cross-entropy": 1, "binary-cross-entropy": 2, "hinge": 3, "huber": 4}
GATHER_THREADS = 256  # for a row, whose inputs are read in fours


def pad(device: Device, program: Program, task: DeviceTask, activations: Sequence[DeviceArray]) -> None:
    """Queue what stands behind the inputs of each layer for ever: 1, the weight of which is the bias, and zeros."""
    for size, array in zip(task.network.layout.sizes, activations, strict=True):
        blocks = grid(device, array.size, 1)[:1]
        device.launch(program, "pad", blocks, (THREADS,), array, size, array.shape[-1], array.size)


@final
class Forward:
    def __init__(
        self, device: Device, program: Program, task: DeviceTask, inputs: DeviceArray, operands: ForwardOperands
    ) -> None:
        self._device, self._program, self._task = device, program, task
        self._inputs, self._operands = inputs, operands
        self._layers = task.network.layout.layers
        self._kinds = [ACTIVATIONS[name] for name in task.network.activations]

    def queue(self) -> None:
        self._gather()
        for layer in range(len(self._layers)):
            self._pass(layer)

    def activations(self, layer: int) -> Matrix:
        """Inputs of a layer (B, I + 1); of the number behind the last, the outputs."""
        line = self._operands.lines[layer]
        return Matrix(self._operands.activations[layer], line, self._operands.batch * line)

    def weights(self, layer: int) -> Matrix:
        """(I + 1, O): the biases are the last row."""
        _, outputs, start = self._layers[layer]
        weights = self._operands.weights
        return Matrix(weights.array.at(start), outputs, weights.stride)

    def multiply(self, m: int, n: int, k: int, a: Matrix, b: Matrix, c: Matrix, adds: bool = False) -> None:
        """c <- a b, or c + a b, for all workers."""
        operands = self._operands
        beta = operands.one if adds else operands.zero
        self._device.gemm(Product(m, n, k, operands.one, a, b, beta, c, operands.workers, self._task.tf32))

    def elementwise(self, kernel: str, outputs: int, *arguments: object) -> None:
        """Queue a kernel over the `outputs` of all examples, which a thread takes four of at a time."""
        blocks = grid(self._device, self._operands.batch * -(-outputs // 4), self._operands.workers)
        self._device.launch(self._program, kernel, blocks, (THREADS,), *arguments)

    def _gather(self) -> None:
        task, operands = self._task, self._operands
        self._device.launch(
            *(self._program, "gather", (operands.batch, operands.workers), (GATHER_THREADS,)),
            *(self._inputs, operands.rows, operands.step, operands.limits, operands.batch, task.inputs.shape[1]),
            *(operands.lines[0], task.scale, operands.activations[0]),
        )

    def _pass(self, layer: int) -> None:
        """A <- act(A W). The last layer's activation is computed with the loss."""
        outputs = self._layers[layer][1]
        batch, out, kind = self._operands.batch, self.activations(layer + 1), self._kinds[layer]
        self.multiply(batch, outputs, self._terms(layer), self.activations(layer), self.weights(layer), out)
        if layer + 1 < len(self._layers) and kind != ACTIVATIONS["identity"]:
            line = self._operands.lines[layer + 1]
            self.elementwise("activate", outputs, out.array, kind, batch, outputs, line)

    def _terms(self, layer: int) -> int:
        """The number of terms of this layer's product: whole rows of activations, since cuBLAS is slower where it is
        not a multiple of four. The zeros there are multiplied by the next layer's first weights, if it has so many."""
        inputs, outputs, start = self._layers[layer]
        line = self._operands.lines[layer]
        return line if start + line * outputs <= self._task.network.layout.size else inputs + 1
