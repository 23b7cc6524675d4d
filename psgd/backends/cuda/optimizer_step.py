"""The optimizer's part of a step of all workers, or of the replica: penalties, clipping by norm, the update rule."""

from typing import final

from psgd.backends.cuda.buffers import THREADS, Buffers, UpdateOperands, grid, norm_blocks
from psgd.backends.cuda.device import Device, Program
from psgd.backends.device_workers import DeviceTask

SUM_BYTES = 8 * THREADS  # of shared memory, for kernels that sum float64 numbers over a block


@final
class UpdateKernels:
    """Clipping and the rule."""

    def __init__(
        self, device: Device, program: Program, rule: str, clip_norm: float | None, operands: UpdateOperands
    ) -> None:
        self._device, self._program, self._operands = device, program, operands
        self._rule, self._clip_norm = rule, clip_norm
        self._size = operands.gradient.array.shape[-1]

    def queue(self) -> None:
        operands = self._operands
        if self._clip_norm is not None:
            self._clip(self._clip_norm)
        self._device.launch(
            *(self._program, self._rule, grid(self._device, self._size, operands.workers), (THREADS,)),
            *(*operands.weights, *operands.gradient, *(operands.moments or (None, 0))),
            *(operands.factors, operands.step, operands.limits, operands.clip, self._size),
        )

    def _clip(self, norm: float) -> None:
        """Write the factor that limits each gradient."""
        operands, workers, blocks = self._operands, self._operands.workers, norm_blocks(self._size)
        self._device.launch(
            *(self._program, "squares", (blocks, workers), (THREADS,)),
            *(*operands.gradient, self._size, blocks, operands.squares),
            shared=SUM_BYTES,
        )
        self._device.launch(
            *(self._program, "clip_factor", (1, workers), (THREADS,), operands.squares, blocks, norm, operands.clip),
            shared=SUM_BYTES,
        )


@final
class OptimizerStep:
    def __init__(self, device: Device, program: Program, task: DeviceTask, buffers: Buffers) -> None:
        self._device, self._program, self._task, self._buffers = device, program, task, buffers
        self._update = None
        if buffers.gradient and task.rule is not None:
            self._update = UpdateKernels(device, program, task.rule, task.clip_norm, buffers.update)

    def queue(self) -> None:
        """Queue what follows the gradient: nothing, if the pass back updated the weights itself."""
        if self._buffers.gradient and (self._task.l1 or self._task.l2):
            self._regularize()
        if self._update:
            self._update.queue()

    def _regularize(self) -> None:
        task, buffers, size = self._task, self._buffers, self._task.network.layout.size
        assert buffers.gradient
        self._device.launch(
            *(self._program, "regularize", grid(self._device, size, buffers.workers), (THREADS,)),
            *(*buffers.gradient, *buffers.weights, task.l1, task.l2),
            *(buffers.weight_spans, buffers.weight_spans.shape[0], size),
        )
