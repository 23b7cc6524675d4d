"""The update rules of optimizers/rules.py by numpy's calls.

Only correctly rounded, uncontracted operations (+ - * / sqrt maximum): all machines get the same bits.
"""

from functools import partial

import numpy as np

from psgd.backends.backend import Array, Factors, Update
from psgd.core.blocks import BLOCK_ELEMENTS, blocks


def by_blocks(update: Update) -> Update:
    """Return `update` applied block by block, so that the vectors stay in the cache between its passes."""

    def update_blocks(p: Array, g: Array, state: Array, factors: Factors, new_p: Array, new_state: Array) -> None:
        if p.size <= BLOCK_ELEMENTS:
            update(p, g, state, factors, new_p, new_state)
            return
        for where in blocks(0, p.size):
            update(p[where], g[where], state[:, where], factors, new_p[where], new_state[:, where])

    return update_blocks


def sgd(p: Array, g: Array, state: Array, factors: Factors, new_p: Array, new_state: Array) -> None:
    (rate,) = factors
    g *= rate
    np.subtract(p, g, new_p)


def momentum(p: Array, g: Array, state: Array, factors: Factors, new_p: Array, new_state: Array) -> None:
    momentum, rate = factors
    v = np.multiply(state[0], momentum, new_state[0])
    v += g
    np.multiply(v, rate, g)
    np.subtract(p, g, new_p)


def nesterov(p: Array, g: Array, state: Array, factors: Factors, new_p: Array, new_state: Array) -> None:
    momentum, rate, momentum_rate = factors
    v = np.multiply(state[0], momentum, new_state[0])
    v += g
    g *= rate
    p = np.subtract(p, g, new_p)
    np.multiply(v, momentum_rate, g)
    np.subtract(p, g, new_p)


def adam(
    p: Array, g: Array, state: Array, factors: Factors, new_p: Array, new_state: Array, amsgrad: bool = False
) -> None:
    beta1, beta2, epsilon, rate = factors
    m = np.multiply(state[0], beta1, new_state[0])
    m += g
    np.multiply(g, g, g)
    v = np.multiply(state[1], beta2, new_state[1])
    v += g
    if amsgrad:
        v = np.maximum(state[2], v, out=new_state[2])
    np.sqrt(v, g)
    g += epsilon
    np.divide(m, g, g)
    g *= rate
    np.subtract(p, g, new_p)


RULES: dict[str, Update] = {
    "sgd": sgd,
    "momentum": momentum,
    "nesterov": nesterov,
    "adam": adam,
    "amsgrad": partial(adam, amsgrad=True),
}
