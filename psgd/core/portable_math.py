"""Arithmetic that gives the same bits on every machine: a library's power is rounded as its author saw fit."""

import math
from typing import TypeVar

import numpy as np

Base = TypeVar("Base", float, np.ndarray)


# Taylor's coefficients of the cosine, enough for float64 up to half a right angle and more.
_COSINE = [1.0 / (-1) ** k / math.factorial(2 * k) for k in range(12)]


def cosine(half_turns: float) -> float:
    """cos(pi x) for 0 <= x <= 1, by additions and multiplications only."""
    if half_turns > 0.5:
        return -cosine(1.0 - half_turns)
    square = (math.pi * half_turns) * (math.pi * half_turns)
    total = 0.0
    for coefficient in reversed(_COSINE):
        total = total * square + coefficient
    return total


def power(base: Base, exponent: int) -> Base:
    """base ** exponent, exponent >= 0, by repeated squaring: multiplications only."""
    result = base * 0.0 + 1.0
    while exponent:
        if exponent & 1:
            result = result * base
        base = base * base
        exponent >>= 1
    return result
