"""A job: all that one process needs to train, whatever the group. The config builds it; so may anybody else."""

from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property
from math import ceil, floor
from typing import final

from psgd.backends.backend import Backend
from psgd.backends.numpy.backend import NUMPY
from psgd.data.dataset import Data
from psgd.data.sampling.shuffle import Sampler
from psgd.learners.learner import Learner
from psgd.strategy.strategy import Strategy


def as_written(number: float) -> Fraction:
    """0.07 is seven hundredths: in floating point, 0.07 * 100 is more than 7 and its ceiling 8."""
    return Fraction(str(number))


@final
@dataclass(frozen=True)
class Job:
    workers: int
    strategy: Strategy
    learner: Learner  # this process's own
    data: Data
    sampler: Sampler
    outputs: int  # columns of the targets, as the learner wants them
    epochs: float
    seed: int = 0
    evaluate_every: float = 1.0  # epochs
    target: float | None = None  # accuracy, or loss where there are no classes, at which training ends
    exclude: bool = False  # a worker that is not finite counts as idle in that round, instead of ending the job
    backend: Backend = NUMPY  # that gathers rows for this learner
    stride: int = 1  # legs end after a multiple of so many steps of a round, where else the learner would round anew

    @property
    def batch(self) -> int:
        """Examples of one worker's step."""
        return self.sampler.batch

    @cached_property
    def end(self) -> int:
        """The position in the stream at or after which training ends."""
        return ceil(as_written(self.epochs) * self.sampler.examples)

    def mark(self, last: int) -> int:
        """The position at or after which the next evaluation is due, if the last was at `last`: the next multiple of
        `evaluate_every`, or the end."""
        every = as_written(self.evaluate_every) * self.sampler.examples
        return max(last + 1, min(self.end, ceil((floor(last / every) + 1) * every)))
