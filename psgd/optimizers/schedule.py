"""Learning rates as functions of the epoch: they do not depend on a worker's number of steps."""

import math
from dataclasses import dataclass
from typing import final

import numpy as np

from psgd.core.portable_math import cosine, cosines, power, powers


@final
@dataclass(frozen=True)
class Schedule:
    """constant, step (times `decay_factor` every `decay_every` epochs) or cosine (to 0 at `epochs`), after a linear
    warm-up over `warmup` epochs."""

    learning_rate: float
    kind: str = "constant"
    epochs: float = 1.0
    warmup: float = 0.0
    decay_every: float = 10.0
    decay_factor: float = 0.1

    def rate(self, epoch: float) -> float:
        """Return the rate for a batch whose middle is at `epoch` (so the first rate of a warm-up is not 0)."""
        if epoch < self.warmup:
            return self.learning_rate * epoch / self.warmup
        if self.kind == "step":
            return self.learning_rate * power(self.decay_factor, math.floor(epoch / self.decay_every))
        if self.kind == "cosine":
            done = (epoch - self.warmup) / max(self.epochs - self.warmup, 1e-12)
            return self.learning_rate * 0.5 * (1.0 + cosine(min(1.0, done)))
        return self.learning_rate

    def rates(self, epochs: np.ndarray) -> np.ndarray:
        """Return `rate` of each epoch."""
        rates = np.full(epochs.shape, self.learning_rate)
        if self.kind == "step":
            rates *= powers(self.decay_factor, np.floor(epochs / self.decay_every).astype(np.int64))
        elif self.kind == "cosine":
            done = (epochs - self.warmup) / max(self.epochs - self.warmup, 1e-12)
            rates *= 0.5
            rates *= 1.0 + cosines(np.minimum(1.0, done))
        if self.warmup:
            rates = np.where(epochs < self.warmup, self.learning_rate * epochs / self.warmup, rates)
        return rates
