"""Products of matrices that numpy has no call for."""

import ctypes
from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np

from psgd.backends import blas
from psgd.backends.numba import native

Accumulate = Callable[[np.ndarray, np.ndarray, np.ndarray, float], None]  # (W_OI, A_IB, D_OB, alpha)

SMALL, LARGE = 1024, 32768  # weights
MANY = 50  # examples


def in_two_passes(weights: int, examples: int) -> bool:
    """Whether the product is made first and added then, if an output's deltas lie together: that costs little in the
    cache, and scipy's BLAS may take half as long again (0.3.30, few outputs)."""
    return SMALL < weights < LARGE and examples >= MANY


@cache
def accumulator(dtype: np.dtype) -> Accumulate:
    """W += alpha A D^T, in place and in one pass over W: `gemm` of scipy's BLAS, whose import, now, takes its time. All
    are of `dtype`, float32 or float64; W is F-contiguous, D and A lie as they may. It rounds otherwise than the product
    and the sum one after the other."""
    from scipy.linalg import blas as scipy_blas

    blas.limit_after_numpy()  # it has threads of its own
    gemm = {"f": scipy_blas.sgemm, "d": scipy_blas.dgemm}[dtype.char]
    large_gemm = _without_the_lock(dtype)

    def accumulate(W_OI: np.ndarray, A_IB: np.ndarray, D_OB: np.ndarray, alpha: float) -> None:
        size = W_OI.size
        if size >= LARGE or not D_OB.flags.c_contiguous:
            large_gemm(W_OI, A_IB, D_OB, alpha)
        elif size > SMALL and in_two_passes(size, D_OB.shape[1]):
            product = np.dot(A_IB, D_OB.T)
            product *= alpha
            np.add(W_OI, product.T, W_OI)
        # Copies are made of what is not F-contiguous: so D and A are handed over as transposes, and it is told so.
        elif A_IB.flags.c_contiguous:
            gemm(alpha, D_OB.T, A_IB.T, 1.0, W_OI, 1, 0, 1)
        else:
            gemm(alpha, D_OB.T, A_IB, 1.0, W_OI, 1, 1, 1)

    return accumulate


def _without_the_lock(dtype: np.dtype) -> Accumulate:
    """The same routine, called so that other threads go on meanwhile: scipy's wrapper keeps Python's lock, which costs
    less where the product is small."""
    real = {"f": ctypes.c_float, "d": ctypes.c_double}[dtype.char]
    char, whole, number = ctypes.c_char_p, ctypes.POINTER(ctypes.c_int), ctypes.POINTER(real)
    array = ctypes.c_void_p
    arguments = (char, char, whole, whole, whole, number, array, whole, array, whole, number, array, whole)
    gemm = ctypes.CFUNCTYPE(None, *arguments)(native.scipy_gemm(dtype))
    one = ctypes.byref(real(1.0))

    def accumulate(W_OI: np.ndarray, A_IB: np.ndarray, D_OB: np.ndarray, alpha: float) -> None:
        # W_OI is as Fortran has it; D_OB and A_BI are so or turned.
        O, I, B = (ctypes.byref(ctypes.c_int(n)) for n in (*W_OI.shape, D_OB.shape[1]))  # noqa: E741
        D_OB, turn_D, step_D = _for_fortran(D_OB)
        A_BI, turn_A, step_A = _for_fortran(A_IB.T)
        W, A, D = W_OI.ctypes.data, A_BI.ctypes.data, D_OB.ctypes.data
        gemm(turn_D, turn_A, O, I, B, ctypes.byref(real(alpha)), D, step_D, A, step_A, one, W, O)

    return accumulate


def _for_fortran(matrix: np.ndarray) -> tuple[np.ndarray, bytes, Any]:
    """The matrix, whether it is to be turned, and by reference: how many numbers from one of its lines to the next. A
    copy only of what has gaps within its lines."""
    number = matrix.itemsize
    if number not in matrix.strides:
        matrix = np.ascontiguousarray(matrix)
    rows, columns = matrix.strides
    turn = columns == number and len(matrix) > 1
    return matrix, b"T" if turn else b"N", ctypes.byref(ctypes.c_int((rows if turn else columns) // number))
