"""Calls of BLAS routines and ufunc loops by their addresses, from compiled code.

Fortran takes everything by reference, and integers of four bytes or of eight. Here they have eight, which is right for
both on a little-endian machine. Matrices are column-major; the leading dimension is the number of elements from one
column to the next.
"""

from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils as _cgutils
from numba.extending import intrinsic as _intrinsic

cgutils: Any = _cgutils
intrinsic: Any = _intrinsic
_BYTE = ir.IntType(8)
_POINTER = _BYTE.as_pointer()


@intrinsic
def pointer(typing, address):  # type: ignore[no-untyped-def]
    """Convert an address to a pointer, for numba.carray and `call`."""

    def write(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.inttoptr(arguments[0], _POINTER)

    return types.voidptr(types.intp), write


@intrinsic
def call(typing, routine, arguments):  # type: ignore[no-untyped-def]
    """Call the routine at an address with a tuple of arguments: pointers are passed by value, numbers and inner tuples
    by reference, and booleans as references to the letter T (transposed) or N."""
    kinds = arguments.types

    def write(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        address, values = arguments
        passed = []
        for kind, value in zip(kinds, cgutils.unpack_tuple(builder, values), strict=True):
            if kind == types.boolean:
                value = builder.select(value, ir.Constant(_BYTE, ord("T")), ir.Constant(_BYTE, ord("N")))
            if kind != types.voidptr:
                value = builder.bitcast(cgutils.alloca_once_value(builder, value), _POINTER)
            passed.append(value)
        function = ir.FunctionType(ir.VoidType(), [_POINTER] * len(passed)).as_pointer()
        builder.call(builder.inttoptr(address, function), passed)
        return context.get_dummy_value()

    return types.void(types.intp, arguments), write
