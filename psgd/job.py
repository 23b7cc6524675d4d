"""A job: all that one process needs to train, whatever the group. The config builds it; so may anybody else."""

from dataclasses import dataclass
from math import ceil, floor
from typing import final

from psgd.data.dataset import Data
from psgd.learners.learner import Learner
from psgd.strategy.strategy import Strategy


@final
@dataclass(frozen=True)
class Job:
    workers: int
    strategy: Strategy
    learner: Learner  # this process's own
    data: Data
    outputs: int  # columns of the targets, as the learner wants them
    batch: int  # examples, of one worker's step
    epochs: float
    seed: int = 0
    evaluate_every: float = 1.0  # epochs
    target: float | None = None  # accuracy, or loss where there are no classes, at which training ends
    exclude: bool = False  # a worker that is not finite counts as idle in that round, instead of ending the job

    @property
    def end(self) -> int:
        """The position in the stream at or after which training ends."""
        return ceil(self.epochs * len(self.data.train))

    def marks(self, position: int) -> int:
        """Evaluation marks at or before `position`; the end is one."""
        if position >= self.end:
            return ceil(self.epochs / self.evaluate_every)
        return floor(position / (self.evaluate_every * len(self.data.train)))
