"""W += alpha A D^T, which numpy cannot do in one call."""

import ctypes
from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np

from psgd.backends import blas, native

# (W_OI, A_IB, D_OB, alpha, two_passes): W_OI is F-contiguous and updated in place; A and D may have any strides.
Accumulate = Callable[[np.ndarray, np.ndarray, np.ndarray, float, bool], None]

# Weights from which the lock (GIL) is released for other threads; such a call of BLAS has more overhead.
UNLOCKED_WEIGHTS = 32768


@cache
def accumulator(dtype: np.dtype) -> Accumulate:
    """Return the routine for float32 or float64: `gemm` of scipy's BLAS, in one pass over W; or, if `two_passes`,
    numpy's product and then the sum, which rounds differently. Imports scipy, which takes time."""
    from scipy.linalg import blas as scipy_blas

    blas.limit_after_numpy()  # scipy's BLAS has threads of its own
    gemm = {"f": scipy_blas.sgemm, "d": scipy_blas.dgemm}[dtype.char]
    unlocked_gemm = _unlocked(dtype)

    def accumulate(W_OI: np.ndarray, A_IB: np.ndarray, D_OB: np.ndarray, alpha: float, two_passes: bool) -> None:
        if two_passes:
            product = np.dot(A_IB, D_OB.T)
            product *= alpha
            np.add(W_OI, product.T, W_OI)
        elif W_OI.size >= UNLOCKED_WEIGHTS or not D_OB.flags.c_contiguous:
            unlocked_gemm(W_OI, A_IB, D_OB, alpha)
        # scipy copies arrays that are not F-contiguous: so transposes are passed, and flags that undo this.
        elif A_IB.flags.c_contiguous:
            gemm(alpha, D_OB.T, A_IB.T, 1.0, W_OI, 1, 0, 1)
        else:
            gemm(alpha, D_OB.T, A_IB, 1.0, W_OI, 1, 1, 1)

    return accumulate


def _unlocked(dtype: np.dtype) -> Callable[[np.ndarray, np.ndarray, np.ndarray, float], None]:
    """Return a call of the same gemm by ctypes, which releases the lock (GIL); scipy's wrapper holds it."""
    real = {"f": ctypes.c_float, "d": ctypes.c_double}[dtype.char]
    gemm = ctypes.CFUNCTYPE(None, *[ctypes.c_void_p] * 13)(native.scipy_gemm(dtype))  # all arguments by reference
    one = ctypes.byref(real(1.0))

    def accumulate(W_OI: np.ndarray, A_IB: np.ndarray, D_OB: np.ndarray, alpha: float) -> None:
        O, I, B = (ctypes.byref(ctypes.c_int(n)) for n in (*W_OI.shape, D_OB.shape[1]))  # noqa: E741
        D_OB, transpose_D, leading_D = _as_fortran(D_OB)
        A_BI, transpose_A, leading_A = _as_fortran(A_IB.T)
        W, A, D = W_OI.ctypes.data, A_BI.ctypes.data, D_OB.ctypes.data
        gemm(transpose_D, transpose_A, O, I, B, ctypes.byref(real(alpha)), D, leading_D, A, leading_A, one, W, O)

    return accumulate


def _as_fortran(matrix: np.ndarray) -> tuple[np.ndarray, bytes, Any]:
    """Return (matrix, whether Fortran sees its transpose: T or N, leading dimension by reference). It is copied only if
    neither rows nor columns are contiguous."""
    itemsize = matrix.itemsize
    if itemsize not in matrix.strides:
        matrix = np.ascontiguousarray(matrix)
    rows, columns = matrix.strides
    transpose = columns == itemsize and len(matrix) > 1
    leading = (rows if transpose else columns) // itemsize
    return matrix, b"T" if transpose else b"N", ctypes.byref(ctypes.c_int(leading))
