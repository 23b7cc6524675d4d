"""Addresses of what numpy and scipy have compiled, for code that is not Python's to call. The same routines: the same
bits."""

import ctypes
import sys

import numpy as np

_KIND = {"f": "s", "d": "d"}
# A wheel's OpenBLAS has names of its own, so that it may live beside others.
_NAMES = ("scipy_{}_64_", "{}_64_", "{}_")


def of_numpys_blas(routine: str, dtype: np.dtype) -> int:
    """Fortran's `routine` for `dtype` in the BLAS of numpy. Its whole numbers may have four bytes or eight: handed over
    in eight they are right for both, on a little-endian machine. LookupError on others, or if it cannot be found."""
    from threadpoolctl import threadpool_info

    if sys.byteorder != "little":
        raise LookupError("whole numbers of four bytes in those of eight")
    paths = [info["filepath"] for info in threadpool_info() if info["user_api"] == "blas"]
    # numpy's before scipy's, if both have one
    for path in sorted(paths, key=lambda path: "scipy" in path.rsplit("/", 2)[-2]):
        library = ctypes.CDLL(path)
        for name in _NAMES:
            found = getattr(library, name.format(_KIND[dtype.char] + routine), None)
            if found:
                return ctypes.cast(found, ctypes.c_void_p).value or 0
    raise LookupError(f"{routine} in numpy's BLAS")


def scipy_gemm(dtype: np.dtype) -> int:
    """Fortran's gemm in the BLAS of scipy, whose integers have four bytes. The import takes its time."""
    from scipy.linalg import cython_blas

    capsule = cython_blas.__pyx_capi__[f"{_KIND[dtype.char]}gemm"]
    python = ctypes.pythonapi
    python.PyCapsule_GetName.restype, python.PyCapsule_GetName.argtypes = ctypes.c_char_p, [ctypes.py_object]
    python.PyCapsule_GetPointer.restype = ctypes.c_void_p
    python.PyCapsule_GetPointer.argtypes = [ctypes.py_object, ctypes.c_char_p]
    address: int = python.PyCapsule_GetPointer(capsule, python.PyCapsule_GetName(capsule))
    return address


class _Ufunc(ctypes.Structure):
    """How PyUFuncObject begins, in numpy's C interface."""

    _fields_ = [
        ("head", ctypes.c_byte * object.__basicsize__),
        ("nin", ctypes.c_int),
        ("nout", ctypes.c_int),
        ("nargs", ctypes.c_int),
        ("identity", ctypes.c_int),
        ("functions", ctypes.POINTER(ctypes.c_void_p)),
        ("data", ctypes.POINTER(ctypes.c_void_p)),
        ("ntypes", ctypes.c_int),
        ("reserved", ctypes.c_int),
        ("name", ctypes.c_char_p),
    ]


def ufunc_loop(ufunc: np.ufunc, dtype: np.dtype) -> tuple[int, int]:
    """Of a function of one number: (its loop over numbers of `dtype`, what that is called with besides). LookupError if
    numpy's objects are not as expected."""
    parts = _Ufunc.from_address(id(ufunc))
    known = (1, 1, 2, ufunc.ntypes) == (parts.nin, parts.nout, parts.nargs, parts.ntypes)
    if not known or parts.name != ufunc.__name__.encode():
        raise LookupError(f"the loops of {ufunc}")
    number = ufunc.types.index(f"{dtype.char}->{dtype.char}")
    return parts.functions[number] or 0, (parts.data[number] or 0) if parts.data else 0


class _Array(ctypes.Structure):
    """How PyArrayObject begins."""

    _fields_ = [
        ("head", ctypes.c_byte * object.__basicsize__),
        ("data", ctypes.c_void_p),
        ("axes", ctypes.c_int),
        ("sizes", ctypes.POINTER(ctypes.c_ssize_t)),
        ("strides", ctypes.POINTER(ctypes.c_ssize_t)),
    ]


def check_arrays() -> None:
    """LookupError if arrays are not as compiled code knows them, whose words have 64 bits."""
    array = np.empty((2, 3))
    parts = _Array.from_address(id(array))
    if ctypes.sizeof(ctypes.c_void_p) != 8 or (parts.data, parts.axes) != (array.ctypes.data, 2):
        raise LookupError("the fields of numpy's arrays")
    if (tuple(parts.sizes[:2]), tuple(parts.strides[:2])) != (array.shape, array.strides):
        raise LookupError("the fields of numpy's arrays")
