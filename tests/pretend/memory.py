"""The memory that a job takes on a device."""

import numpy as np

from psgd.backends.cuda.buffers import Buffers, DeviceData, ScoringBuffers
from psgd.backends.cuda.device import DeviceArray
from psgd.backends.device_workers import DeviceTask, Scored


def bytes_needed(task: DeviceTask, workers: int) -> int:
    """The bytes of all arrays for so many workers and the data."""
    total = 0

    def count(shape: tuple[int, ...], dtype: np.dtype) -> DeviceArray:
        nonlocal total
        array = DeviceArray(0, shape, dtype, None)
        total += array.nbytes
        return array

    parts: list[DeviceTask | Scored] = [task, *task.scored.values()]
    for data in parts:
        DeviceData(count, data, task.network.dtype)
    Buffers(count, task, workers)
    if task.scored:
        ScoringBuffers(count, task)
    return total
