"""Learning rates as functions of the epoch: they do not depend on a worker's number of steps."""

import math
from dataclasses import dataclass
from typing import final

from psgd.core.portable_math import cosine, power


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
