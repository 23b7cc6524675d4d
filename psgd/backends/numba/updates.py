"""The update rules in one pass over memory: the operations of backends/numpy/updates.py in the same order."""

from collections.abc import Callable
from typing import Any

import numpy as np

from psgd.backends.backend import Array, Factors, Update
from psgd.backends.numba.compiler import kernel

# Kernels take p (n,), g (n,), the rows of state and the rule's factors, and update p and the state in place.


@kernel
def _sgd(p, g, rate):  # type: ignore[no-untyped-def]
    rate = p.dtype.type(rate)
    for i in range(p.size):
        p[i] -= g[i] * rate


@kernel
def _momentum(p, g, v, momentum, rate):  # type: ignore[no-untyped-def]
    real = p.dtype.type
    momentum, rate = real(momentum), real(rate)
    for i in range(p.size):
        v[i] = v[i] * momentum + g[i]
        p[i] -= v[i] * rate


@kernel
def _nesterov(p, g, v, momentum, rate, momentum_rate):  # type: ignore[no-untyped-def]
    real = p.dtype.type
    momentum, rate, momentum_rate = real(momentum), real(rate), real(momentum_rate)
    for i in range(p.size):
        v[i] = v[i] * momentum + g[i]
        p[i] = p[i] - g[i] * rate - v[i] * momentum_rate


@kernel
def _adam(p, g, m, v, beta1, beta2, epsilon, rate):  # type: ignore[no-untyped-def]
    real = p.dtype.type
    beta1, beta2, epsilon, rate = real(beta1), real(beta2), real(epsilon), real(rate)
    for i in range(p.size):
        m[i] = m[i] * beta1 + g[i]
        v[i] = v[i] * beta2 + g[i] * g[i]
        p[i] -= m[i] / (np.sqrt(v[i]) + epsilon) * rate


@kernel
def _amsgrad(p, g, m, v, largest, beta1, beta2, epsilon, rate):  # type: ignore[no-untyped-def]
    real = p.dtype.type
    beta1, beta2, epsilon, rate = real(beta1), real(beta2), real(epsilon), real(rate)
    for i in range(p.size):
        m[i] = m[i] * beta1 + g[i]
        v[i] = v[i] * beta2 + g[i] * g[i]
        if not (largest[i] >= v[i] or largest[i] != largest[i]):  # as np.maximum, which keeps NaN
            largest[i] = v[i]
        p[i] -= m[i] / (np.sqrt(largest[i]) + epsilon) * rate


def in_one_pass(kernel: Callable[..., Any]) -> Update:
    def update(p: Array, g: Array, state: Array, factors: Factors, new_p: Array, new_state: Array) -> None:
        if new_p is not p:  # a loop over arrays that may overlap takes longer than these copies
            np.copyto(new_p, p)
            np.copyto(new_state, state)
        kernel(new_p, g, *new_state, *factors)

    return update


KERNELS = {"sgd": _sgd, "momentum": _momentum, "nesterov": _nesterov, "adam": _adam, "amsgrad": _amsgrad}
