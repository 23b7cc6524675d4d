"""The passes of one step of all workers: rows are gathered, the network goes forward, the loss and its slopes are
computed, and the pass back writes gradients, or with plain SGD updates the weights by its products.

Rows and factors are found on the device by the number of the step, which the device counts: the same launches can be
captured once and repeated for all steps.

Shapes: W workers, B examples of a step, I inputs and O outputs of a layer.
"""

from typing import final

from psgd.backends.cuda.buffers import THREADS, Buffers, Examples, grid, plain_descent
from psgd.backends.cuda.device import Device, Matrix, Product, Program
from psgd.backends.hosted import HostedTask

# The numbers that kernels/common.cu gives to activations and losses.
ACTIVATIONS = {"identity": 0, "relu": 1, "sigmoid": 2, "tanh": 3, "softmax": 4}
LOSSES = {"squared-error": 0, "cross-entropy": 1, "binary-cross-entropy": 2, "hinge": 3, "huber": 4}
GATHER_THREADS = 128  # for a row
OUTPUT_THREADS = 128  # a warp of 32 for each example


@final
class NetworkStep:
    def __init__(
        self, device: Device, program: Program, task: HostedTask, examples: Examples, buffers: Buffers
    ) -> None:
        self._device, self._program, self._task = device, program, task
        self._examples, self._buffers = examples, buffers
        self._plain = plain_descent(task)
        self._layers = task.network.layout.layers
        self._kinds = [ACTIVATIONS[name] for name in task.network.activations]

    def queue(self) -> None:
        """Queue the launches and products of one step."""
        layers = range(len(self._layers))
        self._gather()
        for layer in layers:
            self._forward(layer)
        self._output()
        for layer in reversed(layers):
            self._back(layer)

    def _gather(self) -> None:
        task, buffers = self._task, self._buffers
        self._device.launch(
            *(self._program, "gather", (task.batch, buffers.workers), (GATHER_THREADS,)),
            *(self._examples.inputs, buffers.rows, buffers.step, buffers.limits, task.batch, task.inputs.shape[1]),
            *(buffers.lines[0], task.scale, buffers.activations[0]),
        )

    def _forward(self, layer: int) -> None:
        """A <- act(A W). The last layer's activation is computed with the loss."""
        inputs, outputs, _ = self._layers[layer]
        buffers, out = self._buffers, self._activations(layer + 1)
        self._multiply(
            *(self._task.batch, outputs, inputs + 1, self._activations(layer), self._weights(layer), out),
        )
        kind = self._kinds[layer]
        if layer + 1 < len(self._layers) and kind != ACTIVATIONS["identity"]:
            batch = self._task.batch
            self._elementwise("activate", batch * outputs, out.array, kind, batch, outputs, buffers.lines[layer + 1])

    def _output(self) -> None:
        """Losses, and slopes times the mean's 1/B, or times -rate/B if the products of the pass back update."""
        task, buffers, examples = self._task, self._buffers, self._examples
        blocks = -(-task.batch * 32 // OUTPUT_THREADS)
        self._device.launch(
            *(self._program, "output", (blocks, buffers.workers), (OUTPUT_THREADS,)),
            *(buffers.activations[-1], buffers.slopes[-1], examples.labels, examples.targets),
            *(buffers.rows, buffers.step, buffers.limits, buffers.factors, task.batch, self._layers[-1][1]),
            *(buffers.lines[-1], buffers.slope_lines[-1], self._kinds[-1], LOSSES[task.loss], task.huber_threshold),
            *(int(self._plain), buffers.losses),
        )

    def _back(self, layer: int) -> None:
        """The slopes of the layer below, from this layer's weights; then this layer's gradient, or its new weights."""
        inputs, outputs, start = self._layers[layer]
        buffers, batch, slopes = self._buffers, self._task.batch, self._slopes(layer)
        if layer:
            below = self._slopes(layer - 1)
            self._multiply(batch, inputs, outputs, slopes, self._weights(layer)._replace(transposed=True), below)
        to = buffers.gradient or buffers.weights
        self._multiply(
            *(inputs + 1, outputs, batch, self._activations(layer)._replace(transposed=True), slopes),
            *(Matrix(to.array.at(start), outputs, to.stride), self._plain),
        )
        if layer and self._kinds[layer - 1] != ACTIVATIONS["identity"]:
            self._elementwise(
                *("slopes", batch * inputs, below.array, buffers.activations[layer], self._kinds[layer - 1]),
                *(batch, inputs, buffers.slope_lines[layer - 1], buffers.lines[layer]),
            )

    def _activations(self, layer: int) -> Matrix:
        """Inputs of a layer (B, I + 1); of the number behind the last, the outputs."""
        line = self._buffers.lines[layer]
        return Matrix(self._buffers.activations[layer], line, self._task.batch * line)

    def _slopes(self, layer: int) -> Matrix:
        """Slopes of a layer's outputs (B, O)."""
        line = self._buffers.slope_lines[layer]
        return Matrix(self._buffers.slopes[layer], line, self._task.batch * line)

    def _weights(self, layer: int) -> Matrix:
        """(I + 1, O): the biases are the last row."""
        _, outputs, start = self._layers[layer]
        weights = self._buffers.weights
        return Matrix(weights.array.at(start), outputs, weights.stride)

    def _multiply(self, m: int, n: int, k: int, a: Matrix, b: Matrix, c: Matrix, adds: bool = False) -> None:
        """c <- a b, or c + a b, for all workers."""
        buffers = self._buffers
        beta = buffers.one if adds else buffers.zero
        self._device.gemm(Product(m, n, k, buffers.one, a, b, beta, c, buffers.workers, self._task.tf32))

    def _elementwise(self, kernel: str, elements: int, *arguments: object) -> None:
        blocks = grid(self._device, elements, self._buffers.workers)
        self._device.launch(self._program, kernel, blocks, (THREADS,), *arguments)
