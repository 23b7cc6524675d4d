"""Arithmetic that gives the same bits on every machine: a library's power is rounded as its author saw fit."""

from typing import TypeVar

import numpy as np

Base = TypeVar("Base", float, np.ndarray)


def power(base: Base, exponent: int) -> Base:
    """base ** exponent, exponent >= 0, by repeated squaring: multiplications only."""
    result = base * 0.0 + 1.0
    while exponent:
        if exponent & 1:
            result = result * base
        base = base * base
        exponent >>= 1
    return result
