"""Update rules, elementwise and in place, so that any slice of the parameters can be updated by itself.

Only correctly rounded, uncontracted operations (+ - * / sqrt maximum): unlike machines get the same bits.
"""

import math
from dataclasses import dataclass
from typing import Protocol, final

import numpy as np

from psgd.core.portable_math import power

Place = tuple[np.ndarray, np.ndarray]  # p (n,), state (rows, n)


class Rule(Protocol):
    @property
    def rows(self) -> int:
        """Vectors of state a parameter vector needs."""
        ...

    def update(
        self, p: np.ndarray, g: np.ndarray, state: np.ndarray, count: int, rate: float, to: Place | None = None
    ) -> None:
        """Step `p` (n,) along `g` (n,), which is destroyed; `state` (rows, n). `count` is 1 in the first step. The new
        ones go to `to`, or replace the old."""
        ...

    def factors(self, count: int, rate: float) -> tuple[float, ...]:
        """The numbers that are the same for all parameters."""
        ...


@final
@dataclass(frozen=True)
class SGD:
    """v = momentum v + g;  p -= rate v, or rate (g + momentum v) with Nesterov's look-ahead (as PyTorch writes it)."""

    momentum: float = 0.0
    nesterov: bool = False

    @property
    def rows(self) -> int:
        return 1 if self.momentum else 0

    def update(
        self, p: np.ndarray, g: np.ndarray, state: np.ndarray, count: int, rate: float, to: Place | None = None
    ) -> None:
        new, new_state = to or (p, state)
        if self.momentum:
            momentum, rate, along = self.factors(count, rate)
            v = np.multiply(state[0], momentum, new_state[0])
            v += g
            if self.nesterov:
                g *= rate
                p = np.subtract(p, g, new)
            np.multiply(v, along, g)
        else:
            g *= rate
        np.subtract(p, g, new)

    def factors(self, count: int, rate: float) -> tuple[float, ...]:
        """(momentum, rate of g, rate of v)."""
        del count
        return self.momentum, rate, rate * self.momentum if self.nesterov else rate


@final
@dataclass(frozen=True)
class Adam:
    """Kingma & Ba 2015, algorithm 1; AMSGrad: Reddi et al. 2018, the maximum taken before the bias correction.

    The moments are kept as m / (1 - beta1) and v / (1 - beta2), which saves passes: m = beta1 m + g."""

    beta1: float = 0.9
    beta2: float = 0.999
    epsilon: float = 1e-8
    amsgrad: bool = False

    @property
    def rows(self) -> int:
        return 3 if self.amsgrad else 2

    def update(
        self, p: np.ndarray, g: np.ndarray, state: np.ndarray, count: int, rate: float, to: Place | None = None
    ) -> None:
        new, new_state = to or (p, state)
        beta1, beta2, epsilon, rate = self.factors(count, rate)
        m = np.multiply(state[0], beta1, new_state[0])
        m += g
        np.multiply(g, g, g)
        v = np.multiply(state[1], beta2, new_state[1])
        v += g
        if self.amsgrad:
            v = np.maximum(state[2], v, out=new_state[2])
        np.sqrt(v, g)
        g += epsilon
        np.divide(m, g, g)
        g *= rate
        np.subtract(p, g, new)

    def factors(self, count: int, rate: float) -> tuple[float, ...]:
        """(beta1, beta2, epsilon, rate) for the moments as they are kept: p -= rate m / (sqrt(v) + epsilon)."""
        # m_hat / (sqrt(v_hat) + epsilon), where sqrt(v_hat) = scale sqrt(v)
        scale = math.sqrt((1.0 - self.beta2) / (1.0 - power(self.beta2, count)))
        rate = rate * (1.0 - self.beta1) / (1.0 - power(self.beta1, count)) / scale
        return self.beta1, self.beta2, self.epsilon / scale, rate
