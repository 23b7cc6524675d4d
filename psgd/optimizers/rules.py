"""Update rules: hyper-parameters, and the scalar factors of a step. Backends have the elementwise loops.

A rule is elementwise, so that any slice of the parameters can be updated by itself. It has a `name`, by which backends
find its loop; `moment_rows`, the number of vectors of moments that it keeps; `factors`, the scalars that the loop takes
in step number `count` (from 1); and `tables`, the same of many steps: arrays of counts and rates that broadcast, the
same bits.
"""

import math
from dataclasses import dataclass
from typing import final

import numpy as np

from psgd.core.portable_math import power, powers


@final
@dataclass(frozen=True)
class SGD:
    """v = momentum v + g;  p -= rate v, or rate (g + momentum v) with Nesterov's look-ahead (as PyTorch writes it)."""

    momentum: float = 0.0
    nesterov: bool = False

    @property
    def name(self) -> str:
        return "sgd" if not self.momentum else "nesterov" if self.nesterov else "momentum"

    @property
    def moment_rows(self) -> int:
        return 1 if self.momentum else 0

    def factors(self, count: int, rate: float) -> tuple[float, ...]:
        """(rate,), (momentum, rate), or (momentum, rate, rate of v)."""
        if not self.momentum:
            return (rate,)
        return (self.momentum, rate, rate * self.momentum) if self.nesterov else (self.momentum, rate)

    def tables(self, counts: np.ndarray, rates: np.ndarray) -> tuple[np.ndarray | float, ...]:
        if not self.momentum:
            return (rates,)
        return (self.momentum, rates, rates * self.momentum) if self.nesterov else (self.momentum, rates)


@final
@dataclass(frozen=True)
class Adam:
    """Kingma & Ba 2015, algorithm 1; AMSGrad: Reddi et al. 2018, with the maximum before the bias correction.

    The moments are stored as m / (1 - beta1) and v / (1 - beta2), which saves passes: m = beta1 m + g."""

    beta1: float = 0.9
    beta2: float = 0.999
    epsilon: float = 1e-8
    amsgrad: bool = False

    @property
    def name(self) -> str:
        return "amsgrad" if self.amsgrad else "adam"

    @property
    def moment_rows(self) -> int:
        return 3 if self.amsgrad else 2

    def factors(self, count: int, rate: float) -> tuple[float, ...]:
        """(beta1, beta2, epsilon, rate) for the stored moments: p -= rate m / (sqrt(v) + epsilon)."""
        # In the paper it is m_hat / (sqrt(v_hat) + epsilon), where sqrt(v_hat) = scale sqrt(v).
        scale = math.sqrt((1.0 - self.beta2) / (1.0 - power(self.beta2, count)))
        rate = rate * (1.0 - self.beta1) / (1.0 - power(self.beta1, count)) / scale
        return self.beta1, self.beta2, self.epsilon / scale, rate

    def tables(self, counts: np.ndarray, rates: np.ndarray) -> tuple[np.ndarray | float, ...]:
        scales = np.sqrt((1.0 - self.beta2) / (1.0 - powers(self.beta2, counts)))
        rates = rates * (1.0 - self.beta1) / (1.0 - powers(self.beta1, counts)) / scales
        return self.beta1, self.beta2, self.epsilon / scales, rates


Rule = SGD | Adam
