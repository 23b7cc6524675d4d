"""The rules in one pass over memory, compiled by numba: the operations of rules.py in their order, so the same bits."""

from typing import Any, final

import numpy as np
from numba import config, njit

from psgd.optimizer.rules import SGD, Adam, Place, Rule

if getattr(config, "DISABLE_JIT", False):
    raise ImportError("NUMBA_DISABLE_JIT is set")

# numpy's errors: a loop that may raise ZeroDivisionError is not vectorised.
_one: Any = njit(error_model="numpy")
_all: Any = njit(error_model="numpy", nogil=True, cache=True)


@_one
def _momentum(p, g, v, momentum, rate, along):  # type: ignore[no-untyped-def]
    v = v * momentum + g
    return p - v * along, v


@_one
def _nesterov(p, g, v, momentum, rate, along):  # type: ignore[no-untyped-def]
    v = v * momentum + g
    return p - g * rate - v * along, v


@_one
def _adam(p, g, m, v, beta1, beta2, epsilon, rate):  # type: ignore[no-untyped-def]
    m = m * beta1 + g
    v = v * beta2 + g * g
    return p - m / (np.sqrt(v) + epsilon) * rate, m, v


@_one
def _amsgrad(p, g, m, v, top, beta1, beta2, epsilon, rate):  # type: ignore[no-untyped-def]
    m = m * beta1 + g
    v = v * beta2 + g * g
    top = top if top >= v or top != top else v  # as np.maximum, which keeps what is not a number
    return p - m / (np.sqrt(top) + epsilon) * rate, m, v, top


@_all
def _momentum_all(p, g, v, momentum, rate, along):  # type: ignore[no-untyped-def]
    for i in range(p.size):
        p[i], v[i] = _momentum(p[i], g[i], v[i], momentum, rate, along)


@_all
def _nesterov_all(p, g, v, momentum, rate, along):  # type: ignore[no-untyped-def]
    for i in range(p.size):
        p[i], v[i] = _nesterov(p[i], g[i], v[i], momentum, rate, along)


@_all
def _adam_all(p, g, m, v, beta1, beta2, epsilon, rate):  # type: ignore[no-untyped-def]
    for i in range(p.size):
        p[i], m[i], v[i] = _adam(p[i], g[i], m[i], v[i], beta1, beta2, epsilon, rate)


@_all
def _amsgrad_all(p, g, m, v, top, beta1, beta2, epsilon, rate):  # type: ignore[no-untyped-def]
    for i in range(p.size):
        p[i], m[i], v[i], top[i] = _amsgrad(p[i], g[i], m[i], v[i], top[i], beta1, beta2, epsilon, rate)


def _loop(rule: Rule) -> Any:
    if isinstance(rule, SGD):
        return _nesterov_all if rule.nesterov else _momentum_all
    assert isinstance(rule, Adam), rule
    return _amsgrad_all if rule.amsgrad else _adam_all


@final
class OnePass:
    """A rule with state, for vectors of `dtype`. Making it compiles it."""

    def __init__(self, rule: Rule, dtype: np.dtype) -> None:
        self._rule, self._loop, self._number = rule, _loop(rule), dtype.type
        self.update(np.zeros(1, dtype), np.zeros(1, dtype), np.zeros((self.rows, 1), dtype), 1, 0.0)

    @property
    def rows(self) -> int:
        return self._rule.rows

    def factors(self, count: int, rate: float) -> tuple[float, ...]:
        return self._rule.factors(count, rate)

    def update(
        self, p: np.ndarray, g: np.ndarray, state: np.ndarray, count: int, rate: float, to: Place | None = None
    ) -> None:
        if to:  # in place all the same: a loop over arrays that may overlap takes longer than the copies
            np.copyto(to[0], p)
            np.copyto(to[1], state)
            p, state = to
        self._loop(p, g, *state, *map(self._number, self.factors(count, rate)))
