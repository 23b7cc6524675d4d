"""All arrays of one process in a device's memory: the training data, and what the workers of the process need.

Shapes: W workers of this process, S steps of a segment, B examples of a step, P parameters, C rows of a contribution,
R rows of a worker's own moments. Where vectors of several workers are kept, they lie one after another.
"""

from collections.abc import Callable
from typing import NamedTuple, final

import numpy as np

from psgd.backends.cuda.device import Device, DeviceArray
from psgd.backends.device_workers import DeviceTask, Scored

FACTORS = 4  # of a rule, at most
PIECE_BYTES = 64 << 20  # of the data that are converted and copied at a time
# Row numbers of a segment take at most so many bytes, and a segment at most so many steps. Raised, a segment may be
# longer, which pays for networks so small that a segment ends here before its time is over.
ROW_NUMBER_BYTES = 16 << 20
MOST_STEPS = 65536
NORM_BLOCKS = 256  # partial sums of a squared norm, at most: the same on all devices, as is the order of additions
THREADS = 256  # of a block in elementwise kernels
# Blocks of these for each multiprocessor, at most: twice as many as it can take at once. With fewer, a thread waits for
# the memory once for each of its elements; more would be no faster.
BLOCKS_EACH = 16
ALIGNMENT = 256  # bytes, as of allocations
SCORED_EXAMPLES = 16_384  # at a time. Raised, products of scores are larger, and their activations take more memory
EXPORT_BYTES = 2 << 20  # exported memory is a multiple of this, or what lies beside it would be exported as well

Empty = Callable[[tuple[int, ...], np.dtype], DeviceArray]

INT32, FLOAT64, BYTE = np.dtype(np.int32), np.dtype(np.float64), np.dtype(np.uint8)


class Vectors(NamedTuple):
    """A vector or several for each worker."""

    array: DeviceArray  # begins with the first worker's
    stride: int  # elements from worker to worker; 0: all share the same


class ForwardOperands(NamedTuple):
    """What the passes forward of W workers read and write."""

    workers: int  # W
    batch: int  # B
    rows: DeviceArray  # (S, W, B) int32: row numbers of each step
    step: DeviceArray  # (1,) int32: the number of this one
    limits: DeviceArray  # (W,) int32: steps that each worker takes
    weights: Vectors
    activations: list[DeviceArray]  # (W, B, line) of each layer, from the inputs on
    lines: list[int]
    zero: DeviceArray
    one: DeviceArray


class UpdateOperands(NamedTuple):
    """What the update rule reads and writes for W workers, or for the replica, which is one."""

    workers: int  # W
    weights: Vectors  # what is updated
    gradient: Vectors
    moments: Vectors | None
    factors: DeviceArray  # (S, W, FACTORS) of each step
    step: DeviceArray  # (1,) int32: the number of this one
    limits: DeviceArray  # (W,) int32: steps that each worker takes
    clip: DeviceArray  # (W,): factor of each gradient
    squares: DeviceArray | None  # (W, norm_blocks) float64: partial sums of the squared norm; None: nothing is clipped


def capacity(task: DeviceTask, workers: int) -> int:
    """The most steps of a segment."""
    return max(1, min(MOST_STEPS, ROW_NUMBER_BYTES // (INT32.itemsize * task.batch * max(1, workers))))


def grid(device: Device, elements: int, workers: int) -> tuple[int, int]:
    """The grid of a kernel that goes over so many elements of each worker's by blocks of THREADS."""
    return min(BLOCKS_EACH * device.processors, -(-elements // THREADS)), workers


def norm_blocks(parameters: int) -> int:
    """The number of partial sums of a squared norm."""
    return min(NORM_BLOCKS, -(-parameters // THREADS))


def activation_lines(task: DeviceTask) -> list[int]:
    """Elements of a row of each layer's activations, from the inputs on, with a column of ones and some of zeros."""
    return [_line(size + 1) for size in task.network.layout.sizes]


def plain_descent(task: DeviceTask) -> bool:
    """Whether the products of the pass back can update the weights, without a gradient in memory."""
    return task.rule is not None and task.plain and not task.l1 and not task.l2


@final
class DeviceData:
    """Data: bytes as they are stored, other inputs and targets in the network's dtype."""

    def __init__(self, empty: Empty, data: DeviceTask | Scored, dtype: np.dtype) -> None:
        self.inputs = empty(data.inputs.shape, BYTE if data.inputs.dtype == BYTE else dtype)
        self.labels = None if data.labels is None else empty(data.labels.shape, INT32)
        self.targets = None if data.targets is None else empty(data.targets.shape, dtype)

    def upload(self, device: Device, data: DeviceTask | Scored) -> None:
        """Copy the data to the device, and wait for that."""
        pairs = (data.inputs, self.inputs), (data.labels, self.labels), (data.targets, self.targets)
        for host, to in pairs:
            if host is None or to is None:
                continue
            width = host.size // len(host)
            rows = max(1, PIECE_BYTES // (width * to.dtype.itemsize))
            for start in range(0, len(host), rows):
                with np.errstate(over="ignore"):  # what is too large for the dtype is infinite, as on the CPU
                    part = np.ascontiguousarray(host[start : start + rows], to.dtype)
                device.upload(part, to.at(start * width, part.shape))
                device.synchronize()


@final
class Buffers:
    """What the workers need. Contents are undefined until they are written."""

    def __init__(self, empty: Empty, task: DeviceTask, workers: int) -> None:
        W, B, P, dtype = workers, task.batch, task.network.layout.size, task.network.dtype
        C, R, sizes = task.contribution_rows, task.moment_rows, task.network.layout.sizes
        self.workers = W
        where = shared_layout(task, W)
        self.shared = empty((where.size,), BYTE)  # what other processes of the host read and write
        self.replica = self.shared.cast(where.replica, (1 + task.state_rows, P), dtype)
        self.contributions = Vectors(self.shared.cast(where.contributions, (W, C, P), dtype), C * P)
        # The sum of all contributions, from which the replica takes its step.
        self.reduced = Vectors(self.shared.cast(where.reduced, (1, P), dtype), P)
        self.own_moments = Vectors(empty((W, R, P), dtype), R * P) if R else None
        # Activations of each layer, from the inputs on. The column behind the last is 1, the weight of which is the
        # bias, and those behind it are 0, for ever: kernels and products write the columns before them. Rows begin at
        # multiples of eight elements.
        self.lines = activation_lines(task)
        self.activations = [empty((W, B, line), dtype) for line in self.lines]
        self.delta_lines = [_line(size) for size in sizes[1:]]  # of each layer's outputs
        self.deltas = [empty((W, B, line), dtype) for line in self.delta_lines]

        if task.rule is None:
            self.weights = Vectors(self.replica, 0)
            self.gradient: Vectors | None = self.contributions
        else:
            self.weights = self.contributions
            self.gradient = None if plain_descent(task) else Vectors(empty((W, P), dtype), P)
        averaged = task.averages_moments and C > 1
        self.moments = Vectors(self.contributions.array.at(P), C * P) if averaged else self.own_moments
        self.moment_elements = (C - 1 if averaged else R) * P  # of a worker

        most = capacity(task, workers)
        self.rows = empty((most, W, B), INT32)
        self.factors = empty((most, W, FACTORS), dtype)
        self.limits_and_ending = empty((2, W), INT32)  # the next two
        self.limits, self.ending = self.limits_and_ending.at(0, (W,)), self.limits_and_ending.at(W, (W,))
        self.fresh = empty((W,), INT32)  # whether a slot begins a round
        self.step = empty((1,), INT32)  # number of the step in the segment
        self.losses = empty((W, B), FLOAT64)  # sums over the steps of the segment
        self.zero, self.one = empty((1,), dtype), empty((1,), dtype)
        self.weight_spans = empty((len(sizes) - 1, 2), np.dtype(np.int64))
        self.clip = empty((W,), dtype)  # factor of each worker's gradient
        self.squares = None if task.clip_norm is None else empty((W, norm_blocks(P)), FLOAT64)
        # What comes back of a segment: loss (W,) float64, then the first index that is not finite (2, W) int32: in the
        # parameters, and in the optimizer's vectors.
        self.report = empty((16 * W,), BYTE)
        self.loss = self.report.cast(0, (W,), FLOAT64)
        self.first_nonfinite = self.report.cast(8 * W, (2, W), INT32)

    @property
    def forward(self) -> ForwardOperands:
        workers, batch, _ = self.activations[0].shape
        return ForwardOperands(
            *(workers, batch, self.rows, self.step, self.limits, self.weights),
            *(self.activations, self.lines, self.zero, self.one),
        )

    @property
    def update(self) -> UpdateOperands:
        assert self.gradient, "plain SGD updates by the products of the pass back"
        return UpdateOperands(
            *(self.workers, self.weights, self.gradient, self.moments),
            *(self.factors, self.step, self.limits, self.clip),
            self.squares,
        )


@final
class ScoringBuffers:
    """What scores of validation and test data need, beside the data."""

    def __init__(self, empty: Empty, task: DeviceTask) -> None:
        self.most = min(SCORED_EXAMPLES, max(len(data.inputs) for data in task.scored.values()))  # examples at a time
        self.lines = activation_lines(task)
        self.activations = [empty((1, self.most, line), task.network.dtype) for line in self.lines]
        self.rows = empty((self.most,), INT32)
        self.table = empty((self.most, 2), FLOAT64)
        self.numbers = empty((2,), INT32)  # 0 and 1: the first of one step
        self.constants = empty((2,), task.network.dtype)  # 0 and 1


class SharedLayout(NamedTuple):
    """Where a process's memory that others read and write has what, in bytes."""

    replica: int
    contributions: int
    reduced: int
    size: int


def shared_layout(task: DeviceTask, workers: int) -> SharedLayout:
    P, width = task.network.layout.size, task.network.dtype.itemsize
    rows = (1 + task.state_rows, workers * task.contribution_rows, 1 if task.replica_step else 0)
    ends = np.cumsum([_rounded(count * P * width, ALIGNMENT) for count in rows]).tolist()
    return SharedLayout(0, ends[0], ends[1], _rounded(ends[2], EXPORT_BYTES))


def weight_spans(task: DeviceTask) -> np.ndarray:
    """(layers, 2): where the weights of each layer, without biases, begin and end in the parameter vector."""
    spans = [(start, start + inputs * outputs) for inputs, outputs, start in task.network.layout.layers]
    return np.array(spans, np.int64)


def _line(columns: int) -> int:
    """Elements of a row. Rows of float32 begin at multiples of 32 bytes, which is what a GPU reads at least."""
    return _rounded(columns, 8)


def _rounded(number: int, unit: int) -> int:
    """Up to a multiple of `unit`."""
    return -(-number // unit) * unit
