"""Activations: `forward` computes A_OB from Z_OB, which may be the same array; `backward` makes dL/dZ of dL/dA and A.

numpy is fastest on arrays of the same shape or of no dimensions, and slow with Python's numbers: hence Scratch. Here
and wherever a step calls numpy, `out` is the last positional argument, since a keyword takes time.
"""

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import numpy as np

CACHED_ELEMENTS = 32768  # of an array that stays in the L2 cache for several passes: 128 KiB of float32


class Scratch(NamedTuple):
    """Constants and scratch memory, of the shape of the outputs they are used with."""

    one: np.ndarray  # ()
    zeros: np.ndarray
    ones: np.ndarray
    spare: np.ndarray

    @classmethod
    def make(cls, shape: tuple[int, int], dtype: np.dtype) -> "Scratch":
        return cls(np.ones((), dtype), np.zeros(shape, dtype), np.ones(shape, dtype), np.empty(shape, dtype))

    def first(self, rows: int) -> "Scratch":
        return Scratch(self.one, self.zeros[:rows], self.ones[:rows], self.spare[:rows])


Action = Callable[[], None]


class Activation(NamedTuple):
    forward: Callable[[np.ndarray, np.ndarray, Scratch], None]  # (Z_OB, A_OB, scratch)
    backward: Callable[[np.ndarray, np.ndarray, Scratch], None]  # (A_OB, D_OB, scratch)
    all_outputs: bool = False  # A depends on all of an example's Z
    integer: bool = False  # `backward` takes the bits of the floats as unsigned integers

    def actions(self, Z_OB: np.ndarray, A_OB: np.ndarray, D_OB: np.ndarray) -> tuple[list[Action], list[Action]]:
        """Return the calls for forward and backward over these arrays, in parts that stay in the cache."""
        outputs, examples = A_OB.shape
        rows = outputs if self.all_outputs else min(outputs, max(1, CACHED_ELEMENTS // examples))
        dtype = np.dtype(f"u{A_OB.itemsize}") if self.integer else A_OB.dtype
        scratch = back_scratch = Scratch.make((rows, examples), A_OB.dtype)
        if self.integer:
            back_scratch = Scratch.make((rows, examples), dtype)
        forward: list[Action] = []
        backward: list[Action] = []
        for start in range(0, outputs, rows):
            Z, A, D = (array[start : start + rows] for array in (Z_OB, A_OB, D_OB))
            forward.append(partial(self.forward, Z, A, scratch.first(len(A))))
            backward.append(partial(self.backward, A.view(dtype), D.view(dtype), back_scratch.first(len(A))))
        return forward, backward


def _nothing(*arguments: object) -> None:
    """The identity: Z_OB is A_OB."""


def _relu(Z: np.ndarray, A: np.ndarray, scratch: Scratch) -> None:
    np.maximum(Z, scratch.zeros, out=A)  # for maximum and minimum, the keyword is faster


def _relu_back(A: np.ndarray, D: np.ndarray, scratch: Scratch) -> None:
    # D * min(A, 1) on the bits as unsigned integers: those of a float above +0 are at least 1, those of +0 are 0.
    # Floats would need another pass, and a comparison's result would have to be converted.
    derivative = np.minimum(A, scratch.ones, out=scratch.spare)
    np.multiply(D, derivative, D)


def _sigmoid(Z: np.ndarray, A: np.ndarray, scratch: Scratch) -> None:
    # exp overflows to infinity for very negative Z (the loop ignores that), and 1 / infinity is 0, as it should be.
    np.negative(Z, A)
    np.exp(A, A)
    np.add(A, scratch.one, A)
    np.divide(scratch.one, A, A)


def _sigmoid_back(A: np.ndarray, D: np.ndarray, scratch: Scratch) -> None:
    derivative = np.subtract(scratch.one, A, scratch.spare)
    np.multiply(derivative, A, derivative)
    np.multiply(D, derivative, D)


def _tanh(Z: np.ndarray, A: np.ndarray, scratch: Scratch) -> None:
    np.tanh(Z, A)


def _tanh_back(A: np.ndarray, D: np.ndarray, scratch: Scratch) -> None:
    derivative = np.multiply(A, A, scratch.spare)
    np.subtract(scratch.one, derivative, derivative)
    np.multiply(D, derivative, D)


def _softmax(Z: np.ndarray, A: np.ndarray, scratch: Scratch) -> None:
    np.subtract(Z, Z.max(axis=0), A)
    np.exp(A, A)
    A /= A.sum(axis=0)


def _softmax_back(A: np.ndarray, D: np.ndarray, scratch: Scratch) -> None:
    D -= np.multiply(A, D, scratch.spare).sum(axis=0)
    D *= A


ACTIVATIONS = {
    "identity": Activation(_nothing, _nothing),
    "relu": Activation(_relu, _relu_back, integer=True),
    "sigmoid": Activation(_sigmoid, _sigmoid_back),
    "tanh": Activation(_tanh, _tanh_back),
    "softmax": Activation(_softmax, _softmax_back, all_outputs=True),
}
