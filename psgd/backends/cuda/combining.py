"""Combinations on GPUs: each process sums its part of all contributions, and writes it to all processes' memory.

The memory of the others is reached by its address or through CUDA IPC (Device.export). Shapes: C rows of a
contribution, P parameters.
"""

import struct
from collections.abc import Sequence
from typing import final

import numpy as np

from psgd.backends.cuda import programs
from psgd.backends.cuda.buffers import (
    BYTE,
    FACTORS,
    FLOAT64,
    INT32,
    THREADS,
    Buffers,
    UpdateOperands,
    Vectors,
    grid,
    norm_blocks,
    shared_layout,
)
from psgd.backends.cuda.device import Device, DeviceArray, Program
from psgd.backends.cuda.optimizer_step import UpdateKernels
from psgd.backends.device_workers import DeviceTask, ReplicaStep

ADDRESS = np.dtype(np.uintp)
CUT_ELEMENTS = 64  # the parts of two processes begin at multiples of it
_WORKERS = struct.Struct("<q")


def shared(device: Device, buffers: Buffers) -> bytes:
    """What other processes need to reach a process's memory: its number of workers, and the export."""
    return _WORKERS.pack(buffers.workers) + device.export(buffers.shared)


@final
class Combining:
    def __init__(
        self,
        device: Device,
        program: Program,
        task: DeviceTask,
        buffers: Buffers,
        rows: Sequence[bytes],
        rank: int,
    ) -> None:
        """`program`: with the kernels of exact.cu and network.cu; `rows`: what is `shared` by each process of the job;
        `rank`: of this one among them."""
        self._device, self._task, self._buffers = device, task, buffers
        size, dtype = task.network.layout.size, task.network.dtype
        hosted = [_WORKERS.unpack_from(row)[0] for row in rows]
        self._blocks = [  # kept, since others' memory is mapped as long as this is
            buffers.shared
            if number == rank
            else device.open_exported(row[_WORKERS.size :], shared_layout(task, workers).size)
            for number, (row, workers) in enumerate(zip(rows, hosted, strict=True))
        ]
        leaves, outs = [], []
        for block, workers in zip(self._blocks, hosted, strict=True):
            where, stride = shared_layout(task, workers), buffers.contributions.stride * dtype.itemsize
            leaves += [block.pointer + where.contributions + worker * stride for worker in range(workers)]
            outs.append(block.pointer + (where.reduced if task.replica_step else where.replica))
        self._leaves, self._outs = self._table(leaves), self._table(outs)
        units = -(-size // CUT_ELEMENTS)
        self._part = [min(units * n // len(rows) * CUT_ELEMENTS, size) for n in (rank, rank + 1)]
        self._tree = programs.make_program(("tree",), dtype, BYTE, WORKERS=len(leaves))
        self._weights = device.empty((len(leaves),), dtype)
        self._given = device.staging((len(leaves),), dtype)
        self._step = _Step(device, program, task.replica_step, buffers) if task.replica_step else None
        self._sum(0, 0)  # of nothing: the kernel is compiled now

    def reduce(self, weights: np.ndarray) -> None:
        """Sum the contributions by `weights` (workers,), in the order of the tree, in this process's part of the
        parameters. The call before must have been waited for."""
        self._given[:] = weights
        self._device.upload(self._given, self._weights)
        self._sum(*self._part)

    def _sum(self, start: int, stop: int) -> None:
        blocks = grid(self._device, max(1, stop - start), self._task.contribution_rows)
        self._device.launch(
            *(self._tree, "reduce", blocks, (THREADS,), self._leaves, self._weights, self._outs),
            *(self._outs.size, start, stop, self._task.network.layout.size),
        )

    def apply(self, factors: Sequence[float]) -> None:
        """Take the replica's step with the factors of its rule. The call before must have been waited for."""
        assert self._step, "the sum is the replica"
        self._step.queue(factors)

    def _table(self, addresses: list[int]) -> DeviceArray:
        table, given = self._device.empty((len(addresses),), ADDRESS), np.array(addresses, ADDRESS)
        self._device.upload(given, table)
        self._device.synchronize()
        return table


class _Step:
    """The optimizer step of the replica, which counts as one worker here."""

    def __init__(self, device: Device, program: Program, step: ReplicaStep, buffers: Buffers) -> None:
        self._device = device
        rows, size = buffers.replica.shape
        dtype = buffers.replica.dtype
        self._factors = device.empty((1, 1, FACTORS), dtype)
        self._given = device.staging((1, 1, FACTORS), dtype)
        numbers, clip = device.empty((2,), INT32), device.empty((1,), dtype)
        given = (np.array([0, 1], INT32), numbers), (np.ones(1, dtype), clip)
        for host, array in given:
            device.upload(host, array)
        device.synchronize()
        operands = UpdateOperands(
            workers=1,
            weights=Vectors(buffers.replica, 0),
            gradient=buffers.reduced,
            moments=Vectors(buffers.replica.at(size, (rows - 1, size)), 0) if rows > 1 else None,
            factors=self._factors,
            step=numbers.at(0),  # the first of
            limits=numbers.at(1),  # one
            clip=clip,
            squares=None if step.clip_norm is None else device.empty((1, norm_blocks(size)), FLOAT64),
        )
        self._update = UpdateKernels(device, program, step.rule, step.clip_norm, operands)

    def queue(self, factors: Sequence[float]) -> None:
        self._given[0, 0, : len(factors)] = factors  # the rule reads no others
        self._device.upload(self._given, self._factors)
        self._update.queue()
