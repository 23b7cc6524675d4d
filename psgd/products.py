"""Products of matrices that numpy has no call for."""

from typing import Any

import numpy as np

from psgd import blas

_GEMM: dict[str, Any] = {}
SMALL, LARGE = 1024, 32768  # weights
MANY = 50  # examples


def accumulate(W_OI: np.ndarray, A_IB: np.ndarray, D_OB: np.ndarray, alpha: float) -> None:
    """W += alpha D A^T, in place and in one pass over W: `gemm`, of scipy's BLAS. All are float32 or all float64; W is
    F-contiguous, D is C-contiguous, A either. It rounds otherwise than the product and the sum one after the other."""
    if not _GEMM:
        load()
    if SMALL < W_OI.size < LARGE and D_OB.shape[1] >= MANY:
        # The sum costs little in the cache, and scipy's BLAS may take half as long again (0.3.30, of few outputs).
        product = np.dot(A_IB, D_OB.T)
        product *= alpha
        np.add(W_OI, product.T, out=W_OI)
        return
    gemm = _GEMM[W_OI.dtype.char]
    # Copies are made of what is not F-contiguous: so D and A are handed over as transposes, and it is told so.
    if A_IB.flags.c_contiguous:
        gemm(alpha, D_OB.T, A_IB.T, 1.0, W_OI, 1, 0, 1)
    else:
        gemm(alpha, D_OB.T, A_IB, 1.0, W_OI, 1, 1, 1)


def load() -> None:
    """Import scipy's BLAS, which takes a tenth of a second, now and not with the first product."""
    from scipy.linalg import blas as scipy_blas

    blas.limit_after_numpy()  # it has threads of its own
    _GEMM.update(f=scipy_blas.sgemm, d=scipy_blas.dgemm)
