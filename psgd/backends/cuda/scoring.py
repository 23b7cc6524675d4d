"""Scores of the replica on validation and test data that lie on the device.

Several chunks of the data are scored side by side, without TF32.
"""

from collections.abc import Sequence
from typing import final

import numpy as np

from psgd.backends.cuda import programs
from psgd.backends.cuda.buffers import (
    INT32,
    THREADS,
    DeviceData,
    ForwardOperands,
    ScoringBuffers,
    Vectors,
)
from psgd.backends.cuda.device import Device, DeviceArray
from psgd.backends.cuda.forward import ACTIVATIONS, LOSSES, Forward, pad
from psgd.backends.cuda.optimizer_step import SUM_BYTES
from psgd.backends.device_workers import DeviceTask


@final
class Scoring:
    def __init__(self, device: Device, task: DeviceTask) -> None:
        """Copy the data to the device. UsageError if it has not enough memory."""
        self._device, self._task = device, task._replace(tf32=False)
        dtype = task.network.dtype
        self._parts = {name: DeviceData(device.empty, data, dtype) for name, data in task.scored.items()}
        self._programs = {
            name: programs.make_program(("exact", "network"), dtype, part.inputs.dtype)
            for name, part in self._parts.items()
        }
        self._buffers = buffers = ScoringBuffers(device.empty, task)
        self._rows = device.staging((buffers.most,), INT32)
        for name, data in task.scored.items():
            self._parts[name].upload(device, data)
        given = [(np.arange(2, dtype=array.dtype), array) for array in (buffers.numbers, buffers.constants)]
        for host, array in given:
            device.upload(host, array)
        any_program = next(iter(self._programs.values()))
        pad(device, any_program, task, buffers.activations)
        device.synchronize()

    def queue(self, part: str, chunks: Sequence[slice], replica: DeviceArray, table: np.ndarray) -> None:
        """Queue the scores of these ranges of rows -> `table` (chunks, 2): the sum of the losses, and the number of
        right answers. All ranges but the last are equally long. Where there are many examples, it waits for most. The
        call before must have been waited for."""
        size = chunks[0].stop - chunks[0].start
        at_once = self._buffers.most // size
        for first in range(0, len(chunks), at_once):
            if first:
                self._device.synchronize()  # then the row numbers are copied
            some = chunks[first : first + at_once]
            self._queue(part, some, size, replica, table[first : first + len(some)])

    def _queue(self, part: str, chunks: Sequence[slice], size: int, replica: DeviceArray, table: np.ndarray) -> None:
        device, task, buffers = self._device, self._task, self._buffers
        examples, program = self._parts[part], self._programs[part]
        count = 0
        for chunk in chunks:
            length = chunk.stop - chunk.start
            self._rows[count : count + length] = np.arange(chunk.start, chunk.stop)
            count += length
        device.upload(self._rows[:count], buffers.rows.at(0, (count,)))
        operands = ForwardOperands(
            workers=1,
            batch=count,
            rows=buffers.rows,
            step=buffers.numbers.at(0),
            limits=buffers.numbers.at(1),
            weights=Vectors(replica, 0),
            activations=buffers.activations,
            lines=buffers.lines,
            zero=buffers.constants.at(0),
            one=buffers.constants.at(1),
        )
        Forward(device, program, task, examples.inputs, operands).queue()
        outputs, kind = task.network.layout.sizes[-1], ACTIVATIONS[task.network.activations[-1]]
        device.launch(
            *(program, "score", (1, len(chunks)), (THREADS,), buffers.activations[-1]),
            *(examples.labels, examples.targets, buffers.rows, count, size, outputs, buffers.lines[-1], kind),
            *(LOSSES[task.loss], task.huber_threshold, task.threshold, buffers.table),
            shared=SUM_BYTES,
        )
        device.download(buffers.table.at(0, table.shape), table)
