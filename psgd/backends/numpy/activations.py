"""Activations, in place. `forward` turns Z_OB into A_OB; `backward` turns dL/dA into dL/dZ, given A.

numpy is quickest with an operand of the same shape or without dimensions, and slow with Python's numbers: hence Space.
`out` is the last argument, here and wherever a step calls numpy, since a keyword takes time; but not of the extrema.
"""

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import numpy as np

PART = 32768  # numbers that several passes can go over without leaving the cache


class Scratch(NamedTuple):
    """Constants and scratch, of the shape of what is worked on."""

    one: np.ndarray  # ()
    zeros: np.ndarray
    ones: np.ndarray
    spare: np.ndarray

    @classmethod
    def make(cls, shape: tuple[int, int], dtype: np.dtype) -> "Scratch":
        return cls(np.ones((), dtype), np.zeros(shape, dtype), np.ones(shape, dtype), np.empty(shape, dtype))

    def first(self, rows: int) -> "Scratch":
        return Scratch(self.one, self.zeros[:rows], self.ones[:rows], self.spare[:rows])


Act = Callable[[], None]


class Activation(NamedTuple):
    forward: Callable[[np.ndarray, Scratch], None]  # (Z_OB, space)
    backward: Callable[[np.ndarray, np.ndarray, Scratch], None]  # (A_OB, D_OB, space)
    whole: bool = False  # it takes all outputs together
    bits: bool = False  # its `backward` takes all numbers as unsigned integers of the same bits

    def acts(self, A_OB: np.ndarray, D_OB: np.ndarray) -> tuple[list[Act], list[Act]]:
        """Forward and backward over the outputs of a layer and their slopes that live there, in parts as large as is
        good to work on."""
        outputs, examples = A_OB.shape
        rows = outputs if self.whole else min(outputs, max(1, PART // examples))
        kind = np.dtype(f"u{A_OB.itemsize}") if self.bits else A_OB.dtype
        forth = back = Scratch.make((rows, examples), A_OB.dtype)
        if self.bits:
            back = Scratch.make((rows, examples), kind)
        forward: list[Act] = []
        backward: list[Act] = []
        for start in range(0, outputs, rows):
            A, D = A_OB[start : start + rows], D_OB[start : start + rows]
            forward.append(partial(self.forward, A, forth.first(len(A))))
            backward.append(partial(self.backward, A.view(kind), D.view(kind), back.first(len(A))))
        return forward, backward


def _identity(Z: np.ndarray, space: Scratch) -> None:
    pass


def _identity_back(A: np.ndarray, D: np.ndarray, space: Scratch) -> None:
    pass


def _relu(Z: np.ndarray, space: Scratch) -> None:
    np.maximum(Z, space.zeros, out=Z)


def _relu_back(A: np.ndarray, D: np.ndarray, bits: Scratch) -> None:
    # Times 1 where A > 0, else times 0, as integers: what is above +0 is at least 1, and 1 leaves D as it is. Floating
    # numbers would take a pass more, and a comparison would have to be converted.
    slope = np.minimum(A, bits.ones, out=bits.spare)
    np.multiply(D, slope, D)


def _sigmoid(Z: np.ndarray, space: Scratch) -> None:
    # exp may overflow to infinity for very negative Z (the loop ignores that), and 1 / infinity is the 0 meant.
    np.negative(Z, Z)
    np.exp(Z, Z)
    np.add(Z, space.one, Z)
    np.divide(space.one, Z, Z)


def _sigmoid_back(A: np.ndarray, D: np.ndarray, space: Scratch) -> None:
    slope = np.subtract(space.one, A, space.spare)
    np.multiply(slope, A, slope)
    np.multiply(D, slope, D)


def _tanh(Z: np.ndarray, space: Scratch) -> None:
    np.tanh(Z, Z)


def _tanh_back(A: np.ndarray, D: np.ndarray, space: Scratch) -> None:
    slope = np.multiply(A, A, space.spare)
    np.subtract(space.one, slope, slope)
    np.multiply(D, slope, D)


def _softmax(Z: np.ndarray, space: Scratch) -> None:
    Z -= Z.max(axis=0)
    np.exp(Z, Z)
    Z /= Z.sum(axis=0)


def _softmax_back(A: np.ndarray, D: np.ndarray, space: Scratch) -> None:
    D -= np.multiply(A, D, space.spare).sum(axis=0)
    D *= A


ACTIVATIONS = {
    "identity": Activation(_identity, _identity_back),
    "relu": Activation(_relu, _relu_back, bits=True),
    "sigmoid": Activation(_sigmoid, _sigmoid_back),
    "tanh": Activation(_tanh, _tanh_back),
    "softmax": Activation(_softmax, _softmax_back, whole=True),
}
