"""Products of matrices that numpy has no call for."""

from typing import Any

import numpy as np

from psgd import blas


def accumulate(W_IO: np.ndarray, A_BI: np.ndarray, D_BO: np.ndarray, alpha: float, beta: float = 1.0) -> None:
    """W = beta W + alpha A^T D, in place and in one pass over W: `gemm`, of scipy's BLAS. All are C-contiguous and of
    W's dtype, float32 or float64. It rounds otherwise than the product and the sum one after the other."""
    # Fortran's view of these arrays is their transposes: W^T = beta W^T + alpha D^T A.
    _gemm(W_IO.dtype.char)(alpha, D_BO.T, A_BI.T, beta, W_IO.T, 0, 1, 1)


def _load(char: str) -> Any:
    from scipy.linalg import blas as scipy_blas  # a tenth of a second: only who trains pays

    blas.limit_after_numpy()  # it brought a BLAS of its own
    _GEMM.update(f=scipy_blas.sgemm, d=scipy_blas.dgemm)
    return _GEMM[char]


_GEMM: dict[str, Any] = {}


def _gemm(char: str) -> Any:
    return _GEMM.get(char) or _load(char)
