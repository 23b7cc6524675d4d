"""A job: all that one process needs to train, whatever the group. psgd/jobs builds it from settings."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from math import ceil, floor
from typing import NamedTuple, final

import numpy as np

from psgd.backends.backend import Backend
from psgd.backends.device_workers import DeviceWorkers
from psgd.backends.numpy.backend import NUMPY
from psgd.core.portable_math import as_written
from psgd.data.dataset import Data
from psgd.data.sampling.sampler import Sampler
from psgd.group.vector_shape import VectorShape
from psgd.learners.learner import Learner
from psgd.strategy.strategy import Strategy
from psgd.training.early_stop import StopRule


class Start(NamedTuple):
    """The end of an earlier training, from which another one goes on."""

    vectors: np.ndarray  # (1 + rows, P): the parameters, and the strategy's state; (1, P): its state begins anew
    steps: int = 0  # optimizer steps that the state has seen: t in Adam


@final
@dataclass(frozen=True)
class Job:
    workers: int
    strategy: Strategy
    learner: Learner  # this process's own: its buffers are not shared between threads
    data: Data
    sampler: Sampler
    outputs: int  # columns of the targets, as the learner wants them
    epochs: float
    seed: int = 0
    evaluate_every: float = 1.0  # epochs
    target: float | None = None  # accuracy, or loss where there are no classes, at which training ends
    early_stop: StopRule | None = None
    exclude_nonfinite: bool = False  # such a worker counts as absent in that round, instead of ending the job
    stride: int = 1  # segments end after a multiple of so many steps; elsewhere the learner would round differently
    caller: str = "psgd"  # what notes on exceptions name
    backend: Backend = NUMPY  # gathers rows for this learner
    # Opens the device of a process, given its rank on its host and the number of its workers; returns None if the CPU
    # takes the steps. None: the CPU takes the steps of all processes, or the device has been opened.
    open_device: Callable[[int, int], DeviceWorkers | None] | None = None
    device: DeviceWorkers | None = None  # this process's, which takes the steps of its workers
    # Whether the combination is made on the devices: all processes have one, and are on one host, each with workers.
    combines_on_devices: bool = False
    start: Start | None = None  # where training begins; None: the initial parameters of the seed

    @property
    def batch(self) -> int:
        """Examples of one worker's step."""
        return self.sampler.batch

    @cached_property
    def vectors(self) -> VectorShape:
        """The shape of the vectors that the group moves."""
        needs, learner = self.strategy.needs, self.learner
        return VectorShape(self.workers, learner.size, needs.state_rows, needs.contribution_rows, learner.dtype)

    @cached_property
    def end(self) -> int:
        """The position in the stream of examples at or after which training ends."""
        return ceil(as_written(self.epochs) * self.sampler.examples)

    def next_evaluation(self, last: int) -> int:
        """The position at or after which the next evaluation is due, if the last was at `last`: the next multiple of
        `evaluate_every`, or the end."""
        every = as_written(self.evaluate_every) * self.sampler.examples
        return max(last + 1, min(self.end, ceil((floor(last / every) + 1) * every)))
