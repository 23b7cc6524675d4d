"""Losses: functions of outputs A and targets T, summed over outputs and examples.

T is one-hot for classes (0 or 1 for a single output), values for regression.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import final

import numpy as np

_TINY = 1e-30  # the smallest probability, which keeps logarithms finite; representable in float32


@final
@dataclass(frozen=True)
class Loss:
    value: Callable[[np.ndarray, np.ndarray], float]  # (A, T) -> sum over the batch
    slope: Callable[[np.ndarray, np.ndarray, np.ndarray], object]  # (A, T, out): writes dL/dA
    natural: str | None = None  # the output activation with which dL/dZ is A - T
    of_slope: Callable[[np.ndarray], float] | None = None  # dL/dA -> sum over the batch, if that takes less time
    slope_is_difference: bool = False  # dL/dA is A - T
    threshold: float = 0.5  # a single output above it predicts the second of two classes


def _squared(A: np.ndarray, T: np.ndarray) -> float:
    return _squared_of_slope(A - T)


def _squared_of_slope(D: np.ndarray) -> float:
    return 0.5 * float(np.vdot(D, D))


def _cross_entropy(A: np.ndarray, T: np.ndarray) -> float:
    return -float(np.vdot(T, np.log(np.maximum(A, _TINY))))


def _cross_entropy_slope(A: np.ndarray, T: np.ndarray, out: np.ndarray) -> None:
    np.divide(T, np.maximum(A, _TINY), out)
    np.negative(out, out)


def _binary(A: np.ndarray, T: np.ndarray) -> float:
    right = np.abs((1.0 - T) - A)  # the probability of the true class: A or 1 - A
    np.maximum(right, _TINY, out=right)
    return -float(np.log(right, out=right).sum(dtype=np.float64))


def _binary_slope(A: np.ndarray, T: np.ndarray, out: np.ndarray) -> None:
    np.subtract(A, T, out)
    out /= np.maximum(A * (1.0 - A), _TINY)


def _hinge(A: np.ndarray, T: np.ndarray) -> float:
    return float(np.maximum(1.0 - (2.0 * T - 1.0) * A, 0.0).sum(dtype=np.float64))


def _hinge_slope(A: np.ndarray, T: np.ndarray, out: np.ndarray) -> None:
    sign = 2.0 * T - 1.0  # -1 and 1 from targets of 0 and 1
    np.multiply(-sign, sign * A < 1.0, out=out)


def huber(threshold: float) -> Loss:
    """Return the loss that is half the squared error up to `threshold`, and linear beyond."""

    def value(A: np.ndarray, T: np.ndarray) -> float:
        size = np.abs(A - T)
        inside = np.minimum(size, threshold)
        return float((inside * (size - 0.5 * inside)).sum(dtype=np.float64))

    def slope(A: np.ndarray, T: np.ndarray, out: np.ndarray) -> None:
        np.subtract(A, T, out)
        np.clip(out, -threshold, threshold, out=out)

    return Loss(value, slope)


LOSSES = {
    "squared-error": Loss(_squared, np.subtract, "identity", _squared_of_slope, slope_is_difference=True),
    "cross-entropy": Loss(_cross_entropy, _cross_entropy_slope, "softmax"),
    "binary-cross-entropy": Loss(_binary, _binary_slope, "sigmoid"),
    "hinge": Loss(_hinge, _hinge_slope, threshold=0.0),
}
