"""The passes of one step of all workers: rows are gathered, the network goes forward, the loss and its deltas are
computed, and the pass back writes gradients, or with plain SGD updates the weights by its products.

Rows and factors are found on the device by the number of the step, which the device counts: the same launches can be
captured once and repeated for all steps.

Shapes: W workers, B examples of a step, I inputs and O outputs of a layer.
"""

from typing import final

from psgd.backends.cuda.buffers import Buffers, DeviceData, plain_descent
from psgd.backends.cuda.device import Device, Matrix, Program
from psgd.backends.cuda.forward import ACTIVATIONS, LOSSES, Forward
from psgd.backends.device_workers import DeviceTask

OUTPUT_THREADS = 128  # a warp of 32 for each example


@final
class NetworkStep:
    def __init__(
        self, device: Device, program: Program, task: DeviceTask, examples: DeviceData, buffers: Buffers
    ) -> None:
        self._device, self._program, self._task = device, program, task
        self._examples, self._buffers = examples, buffers
        self._forward = Forward(device, program, task, examples.inputs, buffers.forward)
        self._plain = plain_descent(task)
        self._layers = task.network.layout.layers
        self._kinds = [ACTIVATIONS[name] for name in task.network.activations]

    def queue(self) -> None:
        """Queue the launches and products of one step."""
        self._forward.queue()
        self._output()
        for layer in reversed(range(1, len(self._layers))):
            self._back(layer)
        self._gradient(0)
        if len(self._layers) > 1:  # otherwise nothing is beside
            self._device.join()

    def _output(self) -> None:
        """Losses, and deltas times the mean's 1/B, or times -rate/B if the products of the pass back update."""
        task, buffers, examples = self._task, self._buffers, self._examples
        blocks = -(-task.batch * 32 // OUTPUT_THREADS)
        self._device.launch(
            *(self._program, "output", (blocks, buffers.workers), (OUTPUT_THREADS,)),
            *(buffers.activations[-1], buffers.deltas[-1], examples.labels, examples.targets),
            *(buffers.rows, buffers.step, buffers.limits, buffers.factors, task.batch, self._layers[-1][1]),
            *(buffers.lines[-1], buffers.delta_lines[-1], self._kinds[-1], LOSSES[task.loss], task.huber_threshold),
            *(int(self._plain), buffers.losses),
        )

    def _back(self, layer: int) -> None:
        """The deltas of the layer below, from this layer's weights, and beside them this layer's gradient; its new
        weights, if the product updates them, must wait for those deltas."""
        if self._plain:
            self._below(layer)
        with self._device.side_stream():
            self._gradient(layer)
        if not self._plain:
            self._below(layer)

    def _below(self, layer: int) -> None:
        """The deltas of the layer below."""
        batch, inputs, outputs = self._task.batch, *self._layers[layer][:2]
        deltas, weights, below = self._deltas(layer), self._forward.weights(layer), self._deltas(layer - 1)
        self._forward.multiply(batch, inputs, outputs, deltas, weights._replace(transposed=True), below)
        if (kind := self._kinds[layer - 1]) != ACTIVATIONS["identity"]:
            activations, lines = self._buffers.activations[layer], (below.leading_dimension, self._buffers.lines[layer])
            self._forward.elementwise("deltas", inputs, below.array, activations, kind, batch, inputs, *lines)

    def _gradient(self, layer: int) -> None:
        """This layer's gradient, or its new weights."""
        inputs, outputs, start = self._layers[layer]
        activations, deltas = self._forward.activations(layer)._replace(transposed=True), self._deltas(layer)
        to = self._buffers.gradient or self._buffers.weights
        matrix = Matrix(to.array.at(start), outputs, to.stride)
        self._forward.multiply(inputs + 1, outputs, self._task.batch, activations, deltas, matrix, self._plain)

    def _deltas(self, layer: int) -> Matrix:
        """Deltas of a layer's outputs (B, O)."""
        line = self._buffers.delta_lines[layer]
        return Matrix(self._buffers.deltas[layer], line, self._task.batch * line)
