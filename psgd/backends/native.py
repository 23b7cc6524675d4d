"""Addresses of numpy's and scipy's compiled routines, for calls from kernels and ctypes with the same bits."""

import ctypes
import sys

import numpy as np

from psgd.backends import blas

_TYPE_LETTER = {"f": "s", "d": "d"}  # BLAS's letter for each of numpy's
# Names of a routine in a BLAS. Wheels rename those of their OpenBLAS, so that several can be loaded.
_NAMES = ("scipy_{}_64_", "{}_64_", "{}_")


def numpy_blas(routine: str, dtype: np.dtype) -> int:
    """Return the address of a Fortran routine in numpy's BLAS, whose integers have four bytes or eight: references to
    eight bytes are right for both on a little-endian machine. LookupError on others, or if there is no such routine."""
    if sys.byteorder != "little":
        raise LookupError("integers of four bytes passed in eight need a little-endian machine")
    for loaded in blas.libraries():
        library = ctypes.CDLL(loaded["filepath"])
        for name in _NAMES:
            found = getattr(library, name.format(_TYPE_LETTER[dtype.char] + routine), None)
            if found:
                return ctypes.cast(found, ctypes.c_void_p).value or 0
    raise LookupError(f"there is no routine {routine} in numpy's BLAS")


def scipy_gemm(dtype: np.dtype) -> int:
    """Return the address of Fortran's gemm in scipy's BLAS, whose integers have four bytes. Imports scipy (slow)."""
    from scipy.linalg import cython_blas

    capsule = cython_blas.__pyx_capi__[f"{_TYPE_LETTER[dtype.char]}gemm"]
    python = ctypes.pythonapi
    python.PyCapsule_GetName.restype, python.PyCapsule_GetName.argtypes = ctypes.c_char_p, [ctypes.py_object]
    python.PyCapsule_GetPointer.restype = ctypes.c_void_p
    python.PyCapsule_GetPointer.argtypes = [ctypes.py_object, ctypes.c_char_p]
    address: int = python.PyCapsule_GetPointer(capsule, python.PyCapsule_GetName(capsule))
    return address


class _Ufunc(ctypes.Structure):
    """The first fields of PyUFuncObject, in numpy's C interface."""

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
    """Return the addresses of a ufunc's inner loop for one input of `dtype`, and of the data it is called with.
    LookupError if the ufunc has other inputs, or numpy's objects have other fields than expected."""
    fields = _Ufunc.from_address(id(ufunc))
    known = (1, 1, 2, ufunc.ntypes) == (fields.nin, fields.nout, fields.nargs, fields.ntypes)
    if not known or fields.name != ufunc.__name__.encode():
        raise LookupError(f"the inner loops of {ufunc} are not where they are expected")
    number = ufunc.types.index(f"{dtype.char}->{dtype.char}")
    return fields.functions[number] or 0, (fields.data[number] or 0) if fields.data else 0
