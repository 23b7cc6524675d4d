"""Scores of the replica on validation and test data that lie on the device.

Several chunks of the data are scored side by side. Shapes: n examples at a time.
"""

from collections.abc import Sequence
from typing import final

import numpy as np

from psgd.backends.cuda import programs
from psgd.backends.cuda.buffers import (
    FLOAT64,
    INT32,
    THREADS,
    Buffers,
    Examples,
    ForwardOperands,
    Vectors,
    activation_lines,
    grid,
)
from psgd.backends.cuda.device import Device, DeviceArray
from psgd.backends.cuda.forward import ACTIVATIONS, LOSSES, Forward
from psgd.backends.cuda.optimizer_step import SUM_BYTES
from psgd.backends.hosted import HostedTask

MOST_EXAMPLES = 16_384  # at a time. Raised, products are larger, and activations take more memory


@final
class Scoring:
    def __init__(self, device: Device, task: HostedTask, parts: dict[str, Examples]) -> None:
        """`parts`: the data by name, on the device. UsageError if there is not enough memory."""
        self._device, self._task, self._parts = device, task, parts
        dtype, most = task.network.dtype, min(MOST_EXAMPLES, max(part.inputs.shape[0] for part in parts.values()))
        self._lines = activation_lines(task)
        self._activations = [device.empty((1, most, line), dtype) for line in self._lines]
        self._rows = device.empty((most,), INT32)
        self._table = device.empty((most, 2), FLOAT64)
        self._numbers = device.empty((2,), INT32)
        self._constants = device.empty((2,), dtype)
        for array, values in (self._numbers, [0, 1]), (self._constants, [0.0, 1.0]):
            device.upload(np.array(values, array.dtype), array)
            device.synchronize()
        self._programs = {
            name: programs.program(("exact", "network"), dtype, part.inputs.dtype) for name, part in parts.items()
        }
        for line in self._activations:  # the column behind the last stays 1, the weight of which is the bias
            blocks = grid(device, line.size, 1)[:1]
            device.launch(next(iter(self._programs.values())), "fill_real", blocks, (THREADS,), line, 1.0, line.size)
        device.synchronize()

    def queue(self, part: str, chunks: Sequence[slice], buffers: Buffers, table: np.ndarray) -> None:
        """Queue the scores of these ranges of rows -> `table` (chunks, 2): the sum of the losses, and the number of
        right answers. All ranges but the last are equally long. Waits, if there are many examples."""
        size = chunks[0].stop - chunks[0].start
        at_once = max(1, self._rows.size // size)
        for first in range(0, len(chunks), at_once):
            if first:
                self._device.synchronize()  # the row numbers are copied
            some = chunks[first : first + at_once]
            self._queue(part, some, size, buffers, table[first : first + len(some)])

    def _queue(self, part: str, chunks: Sequence[slice], size: int, buffers: Buffers, table: np.ndarray) -> None:
        device, task, examples, program = self._device, self._task, self._parts[part], self._programs[part]
        rows = np.concatenate([np.arange(chunk.start, chunk.stop, dtype=INT32) for chunk in chunks])
        device.upload(rows, self._rows.at(0, rows.shape))
        operands = ForwardOperands(
            workers=1,
            batch=len(rows),
            rows=self._rows,
            step=self._numbers.at(0),
            limits=self._numbers.at(1),
            weights=Vectors(buffers.replica, 0),
            activations=self._activations,
            lines=self._lines,
            zero=self._constants.at(0),
            one=self._constants.at(1),
        )
        Forward(device, program, task, examples.inputs, operands).queue()
        network = task.network
        device.launch(
            *(program, "score", (1, len(chunks)), (THREADS,), self._activations[-1], examples.labels, examples.targets),
            *(self._rows, len(rows), size, network.layout.sizes[-1], self._lines[-1]),
            *(ACTIVATIONS[network.activations[-1]], LOSSES[task.loss], task.huber_threshold, task.threshold),
            self._table,
            shared=SUM_BYTES,
        )
        device.download(_part(self._table, len(chunks)), table)


def _part(table: DeviceArray, rows: int) -> DeviceArray:
    return table.at(0, (rows, 2))
