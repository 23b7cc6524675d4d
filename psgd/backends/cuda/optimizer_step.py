"""The optimizer's part of one step of all workers: penalties, clipping by norm, and the update rule."""

from typing import final

from psgd.backends.cuda.buffers import THREADS, Buffers, grid
from psgd.backends.cuda.device import Device, Program
from psgd.backends.hosted import HostedTask

SUM_BYTES = 8 * THREADS  # of shared memory, for kernels that sum float64 numbers over a block


@final
class OptimizerStep:
    def __init__(self, device: Device, program: Program, task: HostedTask, buffers: Buffers) -> None:
        self._device, self._program, self._task, self._buffers = device, program, task, buffers
        self._size = task.network.layout.size

    def queue(self) -> None:
        """Queue what follows the gradient: nothing, if the pass back updated the weights itself."""
        if self._buffers.gradient is None:
            return
        if self._task.l1 or self._task.l2:
            self._regularize()
        if self._task.rule is not None:
            if self._task.clip_norm is not None:
                self._clip(self._task.clip_norm)
            self._update(self._task.rule)

    def _regularize(self) -> None:
        task, buffers = self._task, self._buffers
        assert buffers.gradient
        self._elementwise(
            *("regularize", *buffers.gradient, *buffers.weights, task.l1, task.l2),
            *(buffers.weight_spans, buffers.weight_spans.shape[0], self._size),
        )

    def _clip(self, norm: float) -> None:
        """Write the factor that limits each worker's gradient."""
        buffers, workers, blocks = self._buffers, self._buffers.workers, self._buffers.norm_blocks
        assert buffers.gradient
        self._device.launch(
            *(self._program, "squares", (blocks, workers), (THREADS,)),
            *(*buffers.gradient, self._size, blocks, buffers.squares),
            shared=SUM_BYTES,
        )
        self._device.launch(
            *(self._program, "clip_factor", (1, workers), (THREADS,), buffers.squares, blocks, norm, buffers.clip),
            shared=SUM_BYTES,
        )

    def _update(self, rule: str) -> None:
        buffers = self._buffers
        assert buffers.gradient
        self._elementwise(
            *(rule, *buffers.weights, *buffers.gradient, *(buffers.moments or (None, 0))),
            *(buffers.factors, buffers.step, buffers.limits, buffers.clip, self._size),
        )

    def _elementwise(self, kernel: str, *arguments: object) -> None:
        blocks = grid(self._device, self._size, self._buffers.workers)
        self._device.launch(self._program, kernel, blocks, (THREADS,), *arguments)
