"""Gathers rows of a dense data set in one pass over memory."""

from typing import Any

import numpy as np
from llvmlite import ir
from numba import types
from numba.extending import intrinsic as _intrinsic

from psgd.backends.numba.compiler import kernel

intrinsic: Any = _intrinsic
CACHE_LINE = 64  # bytes
# How far ahead rows are prefetched: bytes, and at most so many rows. With larger values, prefetched lines are driven
# out of the L1 cache before they are used.
AHEAD_BYTES, AHEAD_ROWS = 4096, 8


@intrinsic
def prefetch(typing, address):  # type: ignore[no-untyped-def]
    """Prefetch the cache line at any address, for one use only: so that it displaces little in the larger caches."""

    def write(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        byte, integer = ir.IntType(8).as_pointer(), ir.IntType(32)
        kind = ir.FunctionType(ir.VoidType(), [byte, *[integer] * 3])
        routine = builder.module.declare_intrinsic("llvm.prefetch", [byte], kind)
        read, used_once, data_cache = (ir.Constant(integer, number) for number in (0, 0, 1))
        builder.call(routine, [builder.inttoptr(arguments[0], byte), read, used_once, data_cache])
        return context.get_dummy_value()

    return types.void(types.intp), write


@kernel
def gather_rows(inputs, rows, scale, X_BI):  # type: ignore[no-untyped-def]
    """Gather as Backend.gather, for C-contiguous inputs and an array of rows (B,)."""
    real = X_BI.dtype.type
    B, F, factor = len(rows), inputs.shape[1], real(scale)
    row_bytes = F * inputs.itemsize
    ahead = min(AHEAD_ROWS, 1 + AHEAD_BYTES // row_bytes)
    for b in range(B + ahead):
        if b < B:
            start = np.int64(inputs.ctypes.data) + rows[b] * row_bytes
            for address in range(start, start + row_bytes + CACHE_LINE - 1, CACHE_LINE):
                prefetch(address)
        if b >= ahead:
            X_I, x_F = X_BI[b - ahead], inputs[rows[b - ahead]]
            for i in range(F):
                X_I[i] = real(x_F[i]) * factor
            X_I[F] = real(1)
