"""What compiled code calls by its address, and memory that it knows by its address.

Fortran's routines want everything by reference, whole numbers of four bytes or of eight: here they lie in eight, which
on a little-endian machine are right for both. Their matrices lie by columns; a line is from one to the next.

numba's cache notices a change of the files whose functions it has compiled, not of this one: touch those too.
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


def _call(builder: Any, routine: Any, handed: list[Any]) -> None:
    kind = ir.FunctionType(ir.VoidType(), [_POINTER] * len(handed)).as_pointer()
    builder.call(builder.inttoptr(routine, kind), handed)


def _at(builder: Any, value: Any) -> Any:
    return builder.bitcast(cgutils.alloca_once_value(builder, value), _POINTER)


def _letter(builder: Any, turn: Any) -> Any:
    return _at(builder, builder.select(turn, ir.Constant(_BYTE, ord("T")), ir.Constant(_BYTE, ord("N"))))


@intrinsic
def pointer(typing, address):  # type: ignore[no-untyped-def]
    """As numba.carray wants it."""
    del typing, address

    def write(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        del context, signature
        return builder.inttoptr(arguments[0], _POINTER)

    return types.voidptr(types.intp), write


@intrinsic
def word(typing, address):  # type: ignore[no-untyped-def]
    """The 64 bits at the address, as a whole number."""
    del typing, address

    def read(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        del context, signature
        return builder.load(builder.inttoptr(arguments[0], ir.IntType(64).as_pointer()))

    return types.int64(types.intp), read


@intrinsic
def prefetch(typing, address):  # type: ignore[no-untyped-def]
    """Ask for the cache line at the address, to read it soon and once: what is in the larger caches shall stay there.
    Nothing else happens, whatever the address."""
    del typing, address

    def write(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        whole = ir.IntType(32)
        kind = ir.FunctionType(ir.VoidType(), [_POINTER, *[whole] * 3])
        routine = builder.module.declare_intrinsic("llvm.prefetch", [_POINTER], kind)
        read, passing, data = (ir.Constant(whole, number) for number in (0, 0, 1))
        builder.call(routine, [builder.inttoptr(arguments[0], _POINTER), read, passing, data])
        return context.get_dummy_value()

    return types.void(types.intp), write


@intrinsic
def gemm(typing, routine, turn_A, turn_B, m, n, k, alpha, A, line_A, B, line_B, beta, C, line_C):  # type: ignore[no-untyped-def]
    """C (m, n) <- alpha A (m, k) B (k, n) + beta C, of alpha's type, where A and B may lie turned."""
    del typing, routine, turn_A, turn_B, m, n, k, A, line_A, B, line_B, beta, C, line_C
    whole, turn = types.intp, types.boolean

    def write(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        routine, turn_A, turn_B, m, n, k, alpha, A, line_A, B, line_B, beta, C, line_C = arguments
        A, B, C = (builder.inttoptr(address, _POINTER) for address in (A, B, C))
        m, n, k, alpha, line_A, line_B, beta, line_C = (
            _at(builder, value) for value in (m, n, k, alpha, line_A, line_B, beta, line_C)
        )
        turns = [_letter(builder, turn_A), _letter(builder, turn_B)]
        _call(builder, routine, [*turns, m, n, k, alpha, A, line_A, B, line_B, beta, C, line_C])
        return context.get_dummy_value()

    wholes = [whole] * 4
    return types.void(whole, turn, turn, whole, whole, whole, alpha, *wholes, alpha, whole, whole), write


@intrinsic
def gemv(typing, routine, turn, m, n, alpha, A, line, x, beta, y):  # type: ignore[no-untyped-def]
    """y <- alpha A x + beta y of alpha's type, for an A that lies as (m, n); or, if it is to be turned, its turned."""
    del typing, routine, turn, m, n, A, line, x, beta, y
    whole = types.intp

    def write(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        routine, turn, m, n, alpha, A, line, x, beta, y = arguments
        A, x, y = (builder.inttoptr(address, _POINTER) for address in (A, x, y))
        one = _at(builder, ir.Constant(ir.IntType(64), 1))
        m, n, alpha, line, beta = (_at(builder, value) for value in (m, n, alpha, line, beta))
        _call(builder, routine, [_letter(builder, turn), m, n, alpha, A, line, x, one, beta, y, one])
        return context.get_dummy_value()

    return types.void(whole, types.boolean, whole, whole, alpha, whole, whole, whole, alpha, whole), write


@intrinsic
def ufunc(typing, loop, data, at, count, size):  # type: ignore[no-untyped-def]
    """`count` numbers of `size` bytes at the address `at` become what numpy's `loop`, with its `data`, makes of it."""
    del typing, loop, data, at, count, size

    def write(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        loop, data, at, count, size = arguments
        both = cgutils.pack_array(builder, [builder.inttoptr(at, _POINTER)] * 2)
        steps = cgutils.pack_array(builder, [size] * 2)
        places = [_at(builder, value) for value in (both, count, steps)]
        _call(builder, loop, [*places, builder.inttoptr(data, _POINTER)])
        return context.get_dummy_value()

    return types.void(*[types.intp] * 5), write
