"""Calls of BLAS routines and ufunc loops by their addresses, from compiled code.

Fortran takes everything by reference, and integers of four bytes or of eight. Here they lie in eight, which is right
for both on a little-endian machine. Matrices are column-major; the leading dimension is the number of elements from
one column to the next.
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


def _call(builder: Any, routine: Any, arguments: list[Any]) -> None:
    kind = ir.FunctionType(ir.VoidType(), [_POINTER] * len(arguments)).as_pointer()
    builder.call(builder.inttoptr(routine, kind), arguments)


def _reference(builder: Any, value: Any) -> Any:
    return builder.bitcast(cgutils.alloca_once_value(builder, value), _POINTER)


def _transpose_flag(builder: Any, transposed: Any) -> Any:
    letter = builder.select(transposed, ir.Constant(_BYTE, ord("T")), ir.Constant(_BYTE, ord("N")))
    return _reference(builder, letter)


@intrinsic
def pointer(typing, address):  # type: ignore[no-untyped-def]
    """The address as a pointer, for numba.carray."""

    def write(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.inttoptr(arguments[0], _POINTER)

    return types.voidptr(types.intp), write


@intrinsic
def gemm(typing, routine, transpose_A, transpose_B, m, n, k, alpha, A, lda, B, ldb, beta, C, ldc):  # type: ignore[no-untyped-def]
    """C (m, n) <- alpha op(A) op(B) + beta C, where op transposes if asked to; in alpha's type."""
    integer, flag = types.intp, types.boolean

    def write(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        routine, transpose_A, transpose_B, m, n, k, alpha, A, lda, B, ldb, beta, C, ldc = arguments
        A, B, C = (builder.inttoptr(address, _POINTER) for address in (A, B, C))
        m, n, k, alpha, lda, ldb, beta, ldc = (
            _reference(builder, value) for value in (m, n, k, alpha, lda, ldb, beta, ldc)
        )
        flags = [_transpose_flag(builder, transpose_A), _transpose_flag(builder, transpose_B)]
        _call(builder, routine, [*flags, m, n, k, alpha, A, lda, B, ldb, beta, C, ldc])
        return context.get_dummy_value()

    matrices = [integer, integer, integer, integer, alpha, integer, integer]
    return types.void(integer, flag, flag, integer, integer, integer, alpha, *matrices), write


@intrinsic
def gemv(typing, routine, transpose, m, n, alpha, A, lda, x, beta, y):  # type: ignore[no-untyped-def]
    """y <- alpha op(A) x + beta y for A stored as (m, n), where op transposes if asked to; in alpha's type."""
    integer = types.intp

    def write(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        routine, transpose, m, n, alpha, A, lda, x, beta, y = arguments
        A, x, y = (builder.inttoptr(address, _POINTER) for address in (A, x, y))
        one = _reference(builder, ir.Constant(ir.IntType(64), 1))
        m, n, alpha, lda, beta = (_reference(builder, value) for value in (m, n, alpha, lda, beta))
        flag = _transpose_flag(builder, transpose)
        _call(builder, routine, [flag, m, n, alpha, A, lda, x, one, beta, y, one])
        return context.get_dummy_value()

    return types.void(integer, types.boolean, integer, integer, alpha, integer, integer, integer, alpha, integer), write


@intrinsic
def ufunc(typing, loop, data, address, count, itemsize):  # type: ignore[no-untyped-def]
    """Apply a ufunc's inner `loop`, called with its `data`, to `count` contiguous elements, in place."""

    def write(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        loop, data, address, count, itemsize = arguments
        operands = cgutils.pack_array(builder, [builder.inttoptr(address, _POINTER)] * 2)
        steps = cgutils.pack_array(builder, [itemsize] * 2)
        references = [_reference(builder, value) for value in (operands, count, steps)]
        _call(builder, loop, [*references, builder.inttoptr(data, _POINTER)])
        return context.get_dummy_value()

    return types.void(*[types.intp] * 5), write
