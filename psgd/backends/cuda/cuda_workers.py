"""The workers of a process on a GPU.

Shapes: W workers, S steps of a segment, B examples of a step, P parameters, C rows of a contribution, R of moments.
"""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, final

import numpy as np

from psgd.backends.cuda import programs
from psgd.backends.cuda.buffers import (
    BYTE,
    FACTORS,
    FLOAT64,
    INT32,
    THREADS,
    Buffers,
    DeviceData,
    Vectors,
    capacity,
    grid,
    weight_spans,
)
from psgd.backends.cuda.combining import Combining, shared
from psgd.backends.cuda.device import Device, DeviceArray
from psgd.backends.cuda.forward import pad
from psgd.backends.cuda.network_step import NetworkStep
from psgd.backends.cuda.optimizer_step import SUM_BYTES, OptimizerStep
from psgd.backends.cuda.resident import Resident, fits
from psgd.backends.cuda.scoring import Scoring
from psgd.backends.device_workers import DeviceTask, DeviceWorkers, Segment, SegmentInputs
from psgd.core.replica import DIGEST_PARAMETERS

UNROLL = 16  # steps of the longer graph. Raised, a segment is fewer launches of graphs, and a graph takes more memory
NOWHERE = np.iinfo(np.int32).max  # "the first index that is not finite" where all are


@final
class _Workspace:
    """What a number of workers needs, on the device and beside it."""

    def __init__(self, device: Device, task: DeviceTask, workers: int) -> None:
        steps, dtype = capacity(task, workers), task.network.dtype
        self.buffers = Buffers(device.empty, task, workers)
        # Memory of the host from and to which the device copies.
        self.numbers = device.staging((2, workers), INT32)  # limits, and whether a slot's round ends
        self.segment_inputs = SegmentInputs(
            device.staging((steps, workers, task.batch), INT32),
            device.staging((steps, workers, FACTORS), FLOAT64),
            self.numbers[0],
        )
        factors = self.segment_inputs.factors
        self.factors = factors if dtype == FLOAT64 else device.staging(factors.shape, dtype)
        self.fresh = device.staging((workers,), INT32)
        self.report = device.staging((self.buffers.report.size,), BYTE)
        self.digested = device.staging((DIGEST_PARAMETERS,), dtype)
        self.weight_spans = weight_spans(task)
        self._unread: set[str] = set()  # calls whose numbers the device may not have copied yet
        self.resident: Resident | None = None  # where the network fits; otherwise:
        self.replays: list[tuple[int, Callable[[], None]]] = []  # numbers of steps, and what queues so many

    def before_writing(self, call: str, wait: Callable[[], None]) -> None:
        """Wait for the device, if it may not have copied the numbers of the last such call yet."""
        if call in self._unread:
            wait()
        self._unread.add(call)

    def waited(self) -> None:
        self._unread.clear()


@final
class CudaWorkers(DeviceWorkers):
    def __init__(self, device: Device, task: DeviceTask, whole: bool = True) -> None:
        """Copy the data to the device. UsageError if it has not enough memory. `whole`: networks that fit are
        kept in shared memory, and a segment is one launch."""
        self.name = f"cuda: {device.name}"
        self._device, self._task, self._whole = device, task, whole
        dtype = task.network.dtype
        self._examples = DeviceData(device.empty, task, dtype)
        self._program = programs.make_program(("exact", "network"), dtype, self._examples.inputs.dtype)
        self._examples.upload(device, task)
        self._scoring = Scoring(device, task) if task.scored else None
        self._current: _Workspace | None = None
        self._combining: Combining | None = None

    def host(self, workers: int) -> SegmentInputs:
        self._device.synchronize()
        self._combining = None
        # It is opened with the workers that it will have.
        if self._current and self._current.buffers.workers == workers:
            self._current.waited()
            return self._current.segment_inputs
        self._current = None  # before there is another: there may not be memory for both
        workspace = self._current = _Workspace(self._device, self._task, workers)
        buffers = workspace.buffers
        if self._whole and (launch := fits(self._task, self._device, self._examples.inputs.dtype, workers)):
            workspace.resident = Resident(self._device, launch, self._task, self._examples, buffers)
        self._fill(buffers.clip, 1.0)
        self._fill(buffers.zero, 0.0)
        self._fill(buffers.one, 1.0)
        self._device.upload(workspace.weight_spans, buffers.weight_spans)
        for numbers in buffers.limits_and_ending, buffers.fresh:
            self._fill(numbers, 0)
        # A segment of no steps, so that the driver loads all kernels before training begins.
        self._start_round(buffers)
        self._begin(buffers)
        if workspace.resident:
            workspace.resident.queue()
        else:
            workspace.replays = self._captured(buffers)
        self._end(buffers)
        self.wait()
        return workspace.segment_inputs

    def set_replica(self, vectors: np.ndarray) -> None:
        self._device.upload(vectors, self._workspace.buffers.replica)

    def set_worker(self, slot: int, contribution: np.ndarray | None, moments: np.ndarray) -> None:
        buffers = self._workspace.buffers
        for host, vectors in (contribution, buffers.contributions), (moments, buffers.own_moments):
            if host is not None and vectors:
                self._device.upload(host, _of(vectors, slot))

    def get_worker(self, slot: int, contribution: np.ndarray | None, moments: np.ndarray | None) -> None:
        buffers = self._workspace.buffers
        for host, vectors in (contribution, buffers.contributions), (moments, buffers.own_moments):
            if host is not None and vectors:
                self._device.download(_of(vectors, slot), host)

    def start(self, slots: Sequence[int], zero_moments: bool) -> None:
        workspace, buffers = self._workspace, self._workspace.buffers
        workspace.before_writing("start", self.wait)
        workspace.fresh[:] = 0
        workspace.fresh[list(slots)] = 1
        self._device.upload(workspace.fresh, buffers.fresh)
        self._start_round(buffers)
        if zero_moments and buffers.own_moments:
            for slot in slots:
                self._fill(_of(buffers.own_moments, slot), 0.0)

    def run(self, steps: int, ends: Sequence[bool]) -> None:
        workspace = self._workspace
        self._upload_segment_inputs(steps, ends)
        self._begin(workspace.buffers)
        if workspace.resident:
            workspace.resident.queue()
        for unrolled, replay in workspace.replays:
            for _ in range(steps // unrolled):
                replay()
            steps %= unrolled
        self._end(workspace.buffers)
        self._device.download(workspace.buffers.report, workspace.report)

    def share(self) -> bytes:
        return shared(self._device, self._workspace.buffers)

    def connect(self, rows: Sequence[bytes], rank: int) -> None:
        self._combining = Combining(self._device, self._program, self._task, self._workspace.buffers, rows, rank)

    def reduce(self, weights: np.ndarray) -> None:
        assert self._combining, "connect() comes first"
        self._workspace.before_writing("reduce", self.wait)
        self._combining.reduce(weights)

    def apply(self, factors: Sequence[float]) -> None:
        assert self._combining, "connect() comes first"
        self._workspace.before_writing("apply", self.wait)
        self._combining.apply(factors)

    def get_replica(self, vectors: np.ndarray) -> None:
        self._device.download(self._workspace.buffers.replica, vectors)

    def get_parameters(self, part: slice) -> np.ndarray:
        host = self._workspace.digested[: part.stop - part.start]
        self._device.download(self._workspace.buffers.replica.at(part.start, host.shape), host)
        return host

    def score(self, part: str, rows: Sequence[slice], table: np.ndarray) -> None:
        assert self._scoring, "there is nothing to score"
        self._workspace.before_writing("score", self.wait)
        self._scoring.queue(part, rows, self._workspace.buffers.replica, table)

    def finish(self) -> Segment:
        self.wait()
        report, workers = self._workspace.report, self._workspace.buffers.workers
        loss = report[: 8 * workers].view(FLOAT64).copy()
        first = report[8 * workers :].view(INT32).reshape(2, workers).astype(np.int64)
        index = np.where(first[0] < NOWHERE, first[0], first[1])
        return Segment(loss, np.where(index < NOWHERE, index, -1))

    def wait(self) -> None:
        self._device.synchronize()
        self._workspace.waited()

    @property
    def _workspace(self) -> _Workspace:
        assert self._current, "host() comes first"
        return self._current

    def _captured(self, buffers: Buffers) -> list[tuple[int, Callable[[], None]]]:
        """Capture the graphs of UNROLL steps and of one. Before, a step that no worker takes (all limits are 0) makes
        the driver load the kernels, which it cannot do in a capture; only scratch memory is changed by it."""
        pad(self._device, self._program, self._task, buffers.activations)
        network = NetworkStep(self._device, self._program, self._task, self._examples, buffers)
        optimizer = OptimizerStep(self._device, self._program, self._task, buffers)

        def queue(steps: int) -> None:
            for _ in range(steps):
                network.queue()
                optimizer.queue()
                self._device.launch(self._program, "tick", (1,), (1,), buffers.step)

        queue(1)
        return [(steps, self._device.capture(partial(queue, steps))) for steps in (UNROLL, 1)]

    def _upload_segment_inputs(self, steps: int, ends: Sequence[bool]) -> None:
        workspace, buffers = self._workspace, self._workspace.buffers
        rows, factors, limits = workspace.segment_inputs
        assert 0 < steps <= len(rows)
        np.logical_and(limits > 0, ends, out=workspace.numbers[1], casting="unsafe")
        pairs = [(workspace.numbers, buffers.limits_and_ending), (rows[:steps], buffers.rows)]
        if self._task.rule is not None:
            if workspace.factors is not factors:
                with np.errstate(all="ignore"):  # places behind a limit are undefined
                    np.copyto(workspace.factors[:steps], factors[:steps], casting="same_kind")
            pairs.append((workspace.factors[:steps], buffers.factors))
        for host, to in pairs:
            self._device.upload(host, to.at(0, host.shape))

    def _start_round(self, buffers: Buffers) -> None:
        contributions, stride = buffers.contributions
        blocks = grid(self._device, stride, buffers.workers)
        self._launch("start_round", blocks, buffers.replica, contributions, buffers.fresh, stride)

    def _begin(self, buffers: Buffers) -> None:
        self._fill(buffers.step, 0)
        self._fill(buffers.losses.cast(0, (2 * buffers.losses.size,), INT32), 0)
        self._fill(buffers.first_nonfinite, NOWHERE)

    def _end(self, buffers: Buffers) -> None:
        """Sum the losses, and look for numbers that are not finite: squares of parameters, since an optimizer's state
        would not be finite; in moments where the round ends."""
        size, workers = self._task.network.layout.size, buffers.workers
        first = buffers.first_nonfinite
        self._launch(
            *("finite", grid(self._device, size, workers), *buffers.contributions, size, size, 1, buffers.limits),
            first.at(0, (workers,)),
        )
        if buffers.moments:
            self._launch(
                *("finite", grid(self._device, buffers.moment_elements, workers), *buffers.moments),
                *(buffers.moment_elements, size, 0, buffers.ending, first.at(workers, (workers,))),
            )
        self._device.launch(
            *(self._program, "total", (1, workers), (THREADS,), buffers.losses, self._task.batch, buffers.loss),
            shared=SUM_BYTES,
        )

    def _fill(self, array: DeviceArray, value: float) -> None:
        kernel = "fill" if array.dtype == INT32 else "fill_real"
        self._launch(kernel, (grid(self._device, array.size, 1)[0],), array, value, array.size)

    def _launch(self, kernel: str, blocks: tuple[int, ...], *arguments: Any) -> None:
        self._device.launch(self._program, kernel, blocks, (THREADS,), *arguments)


def _of(vectors: Vectors, slot: int) -> DeviceArray:
    """One worker's part."""
    _, rows, size = vectors.array.shape
    return vectors.array.at(slot * vectors.stride, (rows, size))
