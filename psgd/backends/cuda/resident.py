"""Trains small networks by a persistent kernel: one launch takes all steps of a segment, with the weights in shared
memory (kernels/resident.cu).

A worker is a cluster of blocks, each of which has a part of the inputs and a part of the examples. A step then takes a
few microseconds, of which a launch for every product would take most.
"""

from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple, final

import numpy as np

from psgd.backends.cuda import programs
from psgd.backends.cuda.buffers import Buffers, DeviceData
from psgd.backends.cuda.device import Device, Program
from psgd.backends.cuda.forward import ACTIVATIONS, LOSSES
from psgd.backends.device_workers import DeviceTask

# The numbers that kernels/resident.cu gives to rules, and the rows of moments that each has.
RULES = {"sgd": (0, 0), "momentum": (1, 1), "nesterov": (2, 1), "adam": (3, 2), "amsgrad": (4, 3)}
CLUSTERS = (8, 4, 2, 1)  # blocks of a worker; all GPUs that know clusters have those of eight
CAPABILITY = (9, 0)  # from which on a GPU knows clusters
THREADS = 512  # of a block. Raised to 1024, a thread would have 64 registers, too few for the tiles of its sums


class LaunchConfig(NamedTuple):
    """How a network is kept on a device, and its kernel launched."""

    program: Program
    cluster: int  # blocks of a worker
    shared: int  # bytes of each


def fits(task: DeviceTask, device: Device, inputs: np.dtype, workers: int) -> LaunchConfig | None:
    """Return how to keep the network of so many workers in the device's shared memory; None if it does not fit, or if
    a step is more than a rule on the mean gradient. `inputs`: dtype of the inputs on the device."""
    if task.rule is None or task.clip_norm is not None or task.l1 or task.l2:
        return None
    number, rows = RULES[task.rule]
    sizes, dtype = task.network.layout.sizes, task.network.dtype
    most = {cluster: shared_numbers(sizes, task.batch, cluster, rows) for cluster in CLUSTERS}
    possible = [
        cluster
        for cluster, numbers in most.items()
        if numbers * dtype.itemsize <= device.shared_bytes and (cluster == 1 or device.capability >= CAPABILITY)
    ]
    if not possible:
        return None
    # Large clusters are fastest until workers have to wait for one another.
    cluster = next((each for each in possible if each * workers <= device.processors), possible[-1])
    program = programs.make_program(
        ("cluster", "resident"),
        dtype,
        inputs,
        SIZES=",".join(map(str, sizes)),
        BATCH=task.batch,
        CLUSTER=cluster,
        THREADS=THREADS,
        HIDDEN=ACTIVATIONS[task.network.activations[0]],
        OUTPUT=ACTIVATIONS[task.network.activations[-1]],
        LOSS=LOSSES[task.loss],
        RULE=number,
        SHARED_REALS=most[cluster],
    )
    return LaunchConfig(program, cluster, most[cluster] * dtype.itemsize)


def shared_numbers(sizes: Sequence[int], batch: int, cluster: int, rows: int) -> int:
    """The numbers in a block's shared memory, counted as in cluster.cu, which asserts it. `rows`: of moments."""
    inputs, first, *_ = sizes
    part = _whole(_up(inputs, cluster))
    own = part * first  # weights
    upper = [(below + 1) * above for below, above in pairwise(sizes[1:])]
    padded = [(below + 1) * (above | 1) for below, above in pairwise(sizes[1:])]
    share = _up(first + sum(upper), cluster)
    deltas = [first, *(size | 1 for size in sizes[2:])]
    return sum(
        (
            (1 + rows) * own,
            _whole(first + sum(padded)),
            _whole(rows * share),
            batch * (part // 4 | 1) * 4,
            _whole(cluster * _up(batch, cluster) * first),
            _whole(batch * sum(size | 1 for size in sizes[1:-1])),
            sum(_whole(batch * line) for line in deltas),
            4,
        )
    )


@final
class Resident:
    def __init__(
        self, device: Device, launch: LaunchConfig, task: DeviceTask, examples: DeviceData, buffers: Buffers
    ) -> None:
        self._device, self._launch, self._task = device, launch, task
        self._examples, self._buffers = examples, buffers

    def queue(self) -> None:
        """Queue the steps of a segment, whose inputs have been uploaded. Losses are added to the buffers'."""
        launch, task, examples, buffers = self._launch, self._task, self._examples, self._buffers
        moments = buffers.moments or (None, 0)
        self._device.launch(
            *(launch.program, "resident", (launch.cluster, buffers.workers), (THREADS,)),
            *(*buffers.contributions, *moments),
            *(examples.inputs, examples.labels, examples.targets, buffers.rows, buffers.factors, buffers.limits),
            *(task.scale, task.huber_threshold, buffers.losses),
            shared=launch.shared,
        )


def _up(number: int, by: int) -> int:
    return -(-number // by)


def _whole(number: int) -> int:
    return _up(number, 4) * 4
