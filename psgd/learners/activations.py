"""Activations, in place. `forward` turns Z_OB into A_OB; `backward` turns dL/dA into dL/dZ, given A.

numpy is quickest with an operand of the same shape or without dimensions, and slow with Python's numbers: hence Space.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

PART = 32768  # numbers that several passes can go over without leaving the cache


class Space(NamedTuple):
    """Constants and scratch, of the shape of what is worked on."""

    one: np.ndarray  # ()
    zeros: np.ndarray
    ones: np.ndarray
    spare: np.ndarray


class Part(NamedTuple):
    """Some outputs of a layer."""

    A_OB: np.ndarray
    D_OB: np.ndarray
    space: Space


class Activation(NamedTuple):
    forward: Callable[[np.ndarray, Space], None]  # (Z_OB, space)
    backward: Callable[[np.ndarray, np.ndarray, Space], None]  # (A_OB, D_OB, space)
    whole: bool = False  # it takes all outputs together

    def parts(self, A_OB: np.ndarray, D_OB: np.ndarray) -> list[Part]:
        """Of a layer whose outputs and their slopes live there: as large as is good to work on."""
        outputs, examples = A_OB.shape
        rows = outputs if self.whole else min(outputs, max(1, PART // examples))
        shape, dtype = (rows, examples), A_OB.dtype
        one, zeros, ones, spare = (
            np.ones((), dtype),
            np.zeros(shape, dtype),
            np.ones(shape, dtype),
            np.empty(shape, dtype),
        )
        parts = []
        for start in range(0, outputs, rows):
            A, D = A_OB[start : start + rows], D_OB[start : start + rows]
            parts.append(Part(A, D, Space(one, zeros[: len(A)], ones[: len(A)], spare[: len(A)])))
        return parts


def _identity(Z: np.ndarray, space: Space) -> None:
    pass


def _identity_back(A: np.ndarray, D: np.ndarray, space: Space) -> None:
    pass


def _relu(Z: np.ndarray, space: Space) -> None:
    np.maximum(Z, space.zeros, out=Z)


def _relu_back(A: np.ndarray, D: np.ndarray, space: Space) -> None:
    # 1 where A > 0, else 0: a comparison would have to be converted, which takes longer.
    slope = np.minimum(A, space.ones, out=space.spare)
    np.ceil(slope, out=slope)
    np.multiply(D, slope, out=D)


def _sigmoid(Z: np.ndarray, space: Space) -> None:
    # exp may overflow to infinity for very negative Z (the loop ignores that), and 1 / infinity is the 0 meant.
    np.negative(Z, out=Z)
    np.exp(Z, out=Z)
    np.add(Z, space.one, out=Z)
    np.divide(space.one, Z, out=Z)


def _sigmoid_back(A: np.ndarray, D: np.ndarray, space: Space) -> None:
    slope = np.subtract(space.one, A, out=space.spare)
    np.multiply(slope, A, out=slope)
    np.multiply(D, slope, out=D)


def _tanh(Z: np.ndarray, space: Space) -> None:
    np.tanh(Z, out=Z)


def _tanh_back(A: np.ndarray, D: np.ndarray, space: Space) -> None:
    slope = np.multiply(A, A, out=space.spare)
    np.subtract(space.one, slope, out=slope)
    np.multiply(D, slope, out=D)


def _softmax(Z: np.ndarray, space: Space) -> None:
    Z -= Z.max(axis=0)
    np.exp(Z, out=Z)
    Z /= Z.sum(axis=0)


def _softmax_back(A: np.ndarray, D: np.ndarray, space: Space) -> None:
    D -= np.multiply(A, D, out=space.spare).sum(axis=0)
    D *= A


ACTIVATIONS = {
    "identity": Activation(_identity, _identity_back),
    "relu": Activation(_relu, _relu_back),
    "sigmoid": Activation(_sigmoid, _sigmoid_back),
    "tanh": Activation(_tanh, _tanh_back),
    "softmax": Activation(_softmax, _softmax_back, whole=True),
}
