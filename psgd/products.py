"""Products of matrices that numpy has no call for."""

from collections.abc import Callable
from functools import cache

import numpy as np

from psgd import blas

Accumulate = Callable[[np.ndarray, np.ndarray, np.ndarray, float], None]  # (W_OI, A_IB, D_OB, alpha)

SMALL, LARGE = 1024, 32768  # weights
MANY = 50  # examples


@cache
def accumulator(dtype: np.dtype) -> Accumulate:
    """W += alpha A D^T, in place and in one pass over W: `gemm` of scipy's BLAS, whose import, now, takes its time. All
    are of `dtype`, float32 or float64; W is F-contiguous, D is C-contiguous, A either. It rounds otherwise than the
    product and the sum one after the other."""
    from scipy.linalg import blas as scipy_blas

    blas.limit_after_numpy()  # it has threads of its own
    gemm = {"f": scipy_blas.sgemm, "d": scipy_blas.dgemm}[dtype.char]

    def accumulate(W_OI: np.ndarray, A_IB: np.ndarray, D_OB: np.ndarray, alpha: float) -> None:
        if SMALL < W_OI.size < LARGE and D_OB.shape[1] >= MANY:
            # The sum costs little in the cache, and scipy's BLAS may take half as long again (0.3.30, few outputs).
            product = np.dot(A_IB, D_OB.T)
            product *= alpha
            np.add(W_OI, product.T, out=W_OI)
        # Copies are made of what is not F-contiguous: so D and A are handed over as transposes, and it is told so.
        elif A_IB.flags.c_contiguous:
            gemm(alpha, D_OB.T, A_IB.T, 1.0, W_OI, 1, 0, 1)
        else:
            gemm(alpha, D_OB.T, A_IB, 1.0, W_OI, 1, 1, 1)

    return accumulate
