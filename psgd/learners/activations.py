"""Activations, in place. `forward` turns Z_BO into A_BO; `backward` turns dL/dA into dL/dZ, given A.

Both are given zeros of the same shape: with them numpy vectorises what it does one by one with a scalar 0.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np


class Activation(NamedTuple):
    forward: Callable[[np.ndarray, np.ndarray], None]  # (Z_BO, zeros_BO)
    backward: Callable[[np.ndarray, np.ndarray], None]  # (A_BO, D_BO)


def _identity(Z: np.ndarray, zeros: np.ndarray) -> None:
    pass


def _identity_back(A: np.ndarray, D: np.ndarray) -> None:
    pass


def _relu(Z: np.ndarray, zeros: np.ndarray) -> None:
    np.maximum(Z, zeros, out=Z)


def _relu_back(A: np.ndarray, D: np.ndarray) -> None:
    np.multiply(D, A > 0, out=D)


def _sigmoid(Z: np.ndarray, zeros: np.ndarray) -> None:
    # exp may overflow to infinity for very negative Z (the loop ignores that), and 1 / infinity is the 0 meant.
    np.subtract(zeros, Z, out=Z)
    np.exp(Z, out=Z)
    Z += 1.0
    np.reciprocal(Z, out=Z)


def _sigmoid_back(A: np.ndarray, D: np.ndarray) -> None:
    slope = 1.0 - A
    slope *= A
    D *= slope


def _tanh(Z: np.ndarray, zeros: np.ndarray) -> None:
    np.tanh(Z, out=Z)


def _tanh_back(A: np.ndarray, D: np.ndarray) -> None:
    D *= 1.0 - A * A


def _softmax(Z: np.ndarray, zeros: np.ndarray) -> None:
    Z -= Z.max(axis=1, keepdims=True)
    np.exp(Z, out=Z)
    Z /= Z.sum(axis=1, keepdims=True)


def _softmax_back(A: np.ndarray, D: np.ndarray) -> None:
    D -= (A * D).sum(axis=1, keepdims=True)
    D *= A


ACTIVATIONS = {
    "identity": Activation(_identity, _identity_back),
    "relu": Activation(_relu, _relu_back),
    "sigmoid": Activation(_sigmoid, _sigmoid_back),
    "tanh": Activation(_tanh, _tanh_back),
    "softmax": Activation(_softmax, _softmax_back),
}
