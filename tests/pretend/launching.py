"""Launches kernels on the arrays of a test, each time in several orders of their threads, which must not matter."""

from typing import Any

import numpy as np

from psgd.backends.cuda import programs
from psgd.backends.cuda.device import DeviceArray, Program

from .emulate import emulated

KINDS = {"identity": 0, "relu": 1, "sigmoid": 2, "tanh": 3, "softmax": 4}  # of activations, for kernels
ORDERS = (0, 1, 5)  # forward, backward, drawn


class RaceError(AssertionError):
    """The results of a kernel depend on the order in which its threads run."""


def launch(
    program: Program, kernel: str, grid: tuple[int, ...], block: tuple[int, ...], *arguments: Any, shared: int = 0
) -> None:
    """Run a kernel that changes these arrays, as it would on a device."""
    arrays = [argument for argument in arguments if isinstance(argument, np.ndarray)]
    before, results = [array.copy() for array in arrays], []
    bound = programs.bind(program, kernel, [on_device(argument) for argument in arguments])
    for order in ORDERS:
        for array, old in zip(arrays, before, strict=True):
            array[...] = old
        emulated(program).launch(kernel, grid, block, bound, shared, order)
        results.append([array.tobytes() for array in arrays])
    if any(result != results[0] for result in results):
        raise RaceError(kernel)


def on_device(argument: Any) -> Any:
    if not isinstance(argument, np.ndarray):
        return argument
    assert argument.flags.c_contiguous
    return DeviceArray(argument.ctypes.data, argument.shape, argument.dtype, argument)


def addresses(arrays: list[np.ndarray]) -> np.ndarray:
    """A table of pointers to these arrays."""
    return np.array([array.ctypes.data for array in arrays], np.uintp)


def ints(*numbers: int) -> np.ndarray:
    return np.array(numbers, np.int32)
