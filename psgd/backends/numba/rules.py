"""The optimizers' rules in one pass over memory: the operations of psgd.optimizers.rules in their order."""

from collections.abc import Iterator
from typing import Any

import numpy as np

from psgd.backends.numba.arrays import inlined, line, vector
from psgd.backends.numba.kernel import Kernel


def kernels(number: Any) -> Iterator[Kernel]:
    """p (P,) parameters, g (P,) gradient, state (rows, P), and the rule's factors."""

    def momentum(p, g, state, momentum, rate, along):  # type: ignore[no-untyped-def]
        _momentum(vector(p, number), vector(g, number), line(state, 0, number), momentum, rate, along)

    def nesterov(p, g, state, momentum, rate, along):  # type: ignore[no-untyped-def]
        _nesterov(vector(p, number), vector(g, number), line(state, 0, number), momentum, rate, along)

    def adam(p, g, state, beta1, beta2, epsilon, rate):  # type: ignore[no-untyped-def]
        m, v = line(state, 0, number), line(state, 1, number)
        _adam(vector(p, number), vector(g, number), m, v, beta1, beta2, epsilon, rate)

    def amsgrad(p, g, state, beta1, beta2, epsilon, rate):  # type: ignore[no-untyped-def]
        m, v, top = line(state, 0, number), line(state, 1, number), line(state, 2, number)
        _amsgrad(vector(p, number), vector(g, number), m, v, top, beta1, beta2, epsilon, rate)

    yield Kernel("momentum", momentum, "aaarrr")
    yield Kernel("nesterov", nesterov, "aaarrr")
    yield Kernel("adam", adam, "aaarrrr")
    yield Kernel("amsgrad", amsgrad, "aaarrrr")


@inlined
def _momentum(p, g, v, momentum, rate, along):  # type: ignore[no-untyped-def]
    for i in range(p.size):
        v[i] = v[i] * momentum + g[i]
        p[i] -= v[i] * along


@inlined
def _nesterov(p, g, v, momentum, rate, along):  # type: ignore[no-untyped-def]
    for i in range(p.size):
        v[i] = v[i] * momentum + g[i]
        p[i] = p[i] - g[i] * rate - v[i] * along


@inlined
def _adam(p, g, m, v, beta1, beta2, epsilon, rate):  # type: ignore[no-untyped-def]
    for i in range(p.size):
        m[i] = m[i] * beta1 + g[i]
        v[i] = v[i] * beta2 + g[i] * g[i]
        p[i] -= m[i] / (np.sqrt(v[i]) + epsilon) * rate


@inlined
def _amsgrad(p, g, m, v, top, beta1, beta2, epsilon, rate):  # type: ignore[no-untyped-def]
    for i in range(p.size):
        m[i] = m[i] * beta1 + g[i]
        v[i] = v[i] * beta2 + g[i] * g[i]
        top[i] = top[i] if top[i] >= v[i] or top[i] != top[i] else v[i]  # as np.maximum, which keeps what is no number
        p[i] -= m[i] / (np.sqrt(top[i]) + epsilon) * rate
