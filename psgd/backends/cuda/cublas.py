"""cuBLAS by ctypes, with a handle of our own: CuPy's refuses to be captured into a CUDA graph."""

import ctypes
from ctypes import POINTER, c_int, c_longlong, c_size_t, c_void_p
from typing import Final

import numpy as np

from psgd.backends.cuda.device import Product

# From cublas_api.h and library_types.h.
_POINTERS_ON_DEVICE: Final = 1  # CUBLAS_POINTER_MODE_DEVICE
_ALLOC_FAILED: Final = 3  # CUBLAS_STATUS_ALLOC_FAILED
_DEFAULT_ALGORITHM: Final = -1  # CUBLAS_GEMM_DEFAULT
_TYPES: Final = {np.dtype(np.float32): 0, np.dtype(np.float64): 1}  # CUDA_R_32F, CUDA_R_64F
_COMPUTE: Final = {np.dtype(np.float32): 68, np.dtype(np.float64): 70}  # CUBLAS_COMPUTE_32F, CUBLAS_COMPUTE_64F
_COMPUTE_TF32: Final = 77  # CUBLAS_COMPUTE_32F_FAST_TF32

_MATRIX: Final = (c_void_p, c_int, c_int)  # address, type, leading dimension
_BATCHED: Final = (*_MATRIX, c_longlong)  # and the elements from one to the next
_SHAPE: Final = (c_void_p, c_int, c_int, c_int, c_int, c_int, c_void_p)  # handle, two transpositions, m, n, k, alpha
_PROTOTYPES: Final = {
    "cublasCreate_v2": (POINTER(c_void_p),),
    "cublasSetStream_v2": (c_void_p, c_void_p),
    "cublasSetWorkspace_v2": (c_void_p, c_void_p, c_size_t),
    "cublasSetPointerMode_v2": (c_void_p, c_int),
    "cublasGemmEx": (*_SHAPE, *_MATRIX, *_MATRIX, c_void_p, *_MATRIX, c_int, c_int),
    "cublasGemmStridedBatchedEx": (*_SHAPE, *_BATCHED, *_BATCHED, c_void_p, *_BATCHED, c_int, c_int, c_int),
}


class Cublas:
    """Products queued in one stream. alpha and beta are read from the device's memory when a product runs."""

    def __init__(self, library: str, stream: int, workspace: int, workspace_bytes: int) -> None:
        """`library`: its file; `stream`: its address; `workspace`: address of memory that must outlive every graph
        in which products were captured. Setting the stream forgets the workspace, so that comes after."""
        self._library = ctypes.CDLL(library)
        for name, types in _PROTOTYPES.items():
            function = getattr(self._library, name)
            function.argtypes, function.restype = types, c_int
        self._handle = c_void_p()
        self._call("cublasCreate_v2", ctypes.byref(self._handle))
        self._call("cublasSetStream_v2", self._handle, stream)
        self._call("cublasSetWorkspace_v2", self._handle, workspace, workspace_bytes)
        self._call("cublasSetPointerMode_v2", self._handle, _POINTERS_ON_DEVICE)

    def gemm(self, product: Product) -> None:
        """Queue a product of row-major matrices.

        cuBLAS takes matrices by columns, and so sees each of ours transposed: c' = b' a'. Raises TypeError if dtypes
        differ, RuntimeError with cuBLAS's status."""
        m, n, k, alpha, a, b, beta, c, count, tf32 = product
        dtype = c.array.dtype
        if {each.dtype for each in (alpha, a.array, b.array, beta)} != {dtype} or dtype not in _TYPES or c.transposed:
            raise TypeError("gemm takes arrays of one dtype, float32 or float64, into a matrix that is not transposed")
        compute = _COMPUTE_TF32 if tf32 and dtype == np.float32 else _COMPUTE[dtype]
        shape = (self._handle, int(b.transposed), int(a.transposed), n, m, k, alpha.pointer)
        left, right, out = ((x.array.pointer, _TYPES[dtype], x.leading_dimension) for x in (b, a, c))
        if count == 1:
            self._call("cublasGemmEx", *shape, *left, *right, beta.pointer, *out, compute, _DEFAULT_ALGORITHM)
            return
        self._call(
            "cublasGemmStridedBatchedEx",
            *(*shape, *left, b.stride, *right, a.stride, beta.pointer, *out, c.stride),
            *(count, compute, _DEFAULT_ALGORITHM),
        )

    def _call(self, name: str, *arguments: object) -> None:
        if status := getattr(self._library, name)(*arguments):
            reason = ", no memory is left" if status == _ALLOC_FAILED else ""
            raise RuntimeError(f"{name}: cuBLAS status {status}{reason}")
