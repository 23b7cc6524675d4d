"""Functions that give the same bits on every machine, unlike those of a C library, whose last bit may differ."""

import math
from fractions import Fraction
from typing import TypeVar

import numpy as np

Base = TypeVar("Base", float, np.ndarray)

# Coefficients of the Taylor series of the cosine: enough of them for float64 from 0 to pi / 2.
_COSINE = [1.0 / (-1) ** k / math.factorial(2 * k) for k in range(12)]


def as_written(number: float) -> Fraction:
    """The decimal fraction as written: 0.07 is seven hundredths. In floating point, 0.07 * 100 is more than 7, and its
    ceiling 8; floor(0.29 * 100) is 28."""
    return Fraction(str(number))


def cosine(half_turns: float) -> float:
    """Return cos(pi * half_turns) for 0 <= half_turns <= 1, by additions and multiplications only."""
    if half_turns > 0.5:
        return -cosine(1.0 - half_turns)
    square = (math.pi * half_turns) * (math.pi * half_turns)
    total = 0.0
    for coefficient in reversed(_COSINE):
        total = total * square + coefficient
    return total


def cosines(half_turns: np.ndarray) -> np.ndarray:
    """Return `cosine` of each."""
    mirrored = half_turns > 0.5
    angles = math.pi * np.where(mirrored, 1.0 - half_turns, half_turns)
    squares, totals = angles * angles, np.zeros(angles.shape)
    for coefficient in reversed(_COSINE):
        totals = totals * squares + coefficient
    return np.where(mirrored, -totals, totals)


def power(base: Base, exponent: int) -> Base:
    """Return base ** exponent, exponent >= 0, by repeated squaring: multiplications only."""
    result = base * 0.0 + 1.0
    while exponent:
        if exponent & 1:
            result = result * base
        base = base * base
        exponent >>= 1
    return result


def powers(base: float, exponents: np.ndarray) -> np.ndarray:
    """Return `power(base, n)` of each exponent n."""
    results = np.ones(exponents.shape)
    while exponents.any():
        np.multiply(results, base, out=results, where=(exponents & 1).astype(bool))
        base = base * base
        exponents = exponents >> 1
    return results
