"""Losses: functions of outputs A, or of logits Z (outputs before their activation), and targets T, summed over outputs
and examples.

T is one-hot for classes (0 or 1 for a single output), values for regression. Logarithms of probabilities are computed
from logits: a probability of the true class that rounds to 0 in floating point has lost its logarithm.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import final

import numpy as np


@final
@dataclass(frozen=True)
class Loss:
    value: Callable[
        [np.ndarray, np.ndarray], float
    ]  # (A, or Z if the activation is `canonical`, T) -> sum over the batch
    derivative: Callable[[np.ndarray, np.ndarray, np.ndarray], object] | None  # (A, T, out): writes dL/dA
    canonical: str | None = None  # the output activation with which dL/dZ is A - T; the only one without `derivative`
    # dL/dA -> sum over the batch, if that takes less time
    value_from_derivative: Callable[[np.ndarray], float] | None = None
    derivative_is_difference: bool = False  # dL/dA is A - T
    threshold: float = 0.5  # a single output above it predicts the second of two classes


def _squared(A: np.ndarray, T: np.ndarray) -> float:
    return _squared_from_derivative(A - T)


def _squared_from_derivative(D: np.ndarray) -> float:
    return 0.5 * float(np.vdot(D, D))


def _cross_entropy(Z_OB: np.ndarray, T_OB: np.ndarray) -> float:
    """-log softmax(Z) of the true class: log(sum of exp(Z)) - Z, with Z relative to its maximum."""
    E_OB = Z_OB - Z_OB.max(axis=0)
    of_targets = float(np.vdot(T_OB, E_OB))
    np.exp(E_OB, E_OB)
    return float(np.log(E_OB.sum(axis=0)).sum(dtype=np.float64)) - of_targets


def _binary(Z: np.ndarray, T: np.ndarray) -> float:
    """-log sigmoid(Z) where T is 1, -log sigmoid(-Z) where it is 0: max(Z, 0) - T Z + log(1 + exp(-|Z|))."""
    rest = np.abs(Z)
    np.negative(rest, rest)
    np.exp(rest, rest)
    np.log1p(rest, rest)
    losses = np.maximum(Z, 0.0)
    losses -= T * Z
    losses += rest
    return float(losses.sum(dtype=np.float64))


def _hinge(A: np.ndarray, T: np.ndarray) -> float:
    return float(np.maximum(1.0 - (2.0 * T - 1.0) * A, 0.0).sum(dtype=np.float64))


def _hinge_derivative(A: np.ndarray, T: np.ndarray, out: np.ndarray) -> None:
    sign = 2.0 * T - 1.0  # -1 and 1 from targets of 0 and 1
    np.multiply(-sign, sign * A < 1.0, out=out)


def huber(threshold: float) -> Loss:
    """Return the loss that is half the squared error up to `threshold`, and linear beyond."""

    def value(A: np.ndarray, T: np.ndarray) -> float:
        size = np.abs(A - T)
        inside = np.minimum(size, threshold)
        return float((inside * (size - 0.5 * inside)).sum(dtype=np.float64))

    def derivative(A: np.ndarray, T: np.ndarray, out: np.ndarray) -> None:
        np.subtract(A, T, out)
        np.clip(out, -threshold, threshold, out=out)

    return Loss(value, derivative)


LOSSES = {
    "squared-error": Loss(_squared, np.subtract, "identity", _squared_from_derivative, derivative_is_difference=True),
    "cross-entropy": Loss(_cross_entropy, None, "softmax"),
    "binary-cross-entropy": Loss(_binary, None, "sigmoid"),
    "hinge": Loss(_hinge, _hinge_derivative, threshold=0.0),
}
