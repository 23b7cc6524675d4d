"""Rows gathered in one pass, compiled by numba, with the bits of numpy's passes."""

from typing import Any

import numpy as np
from numba import njit

from psgd.calls import prefetch

LINE = 64  # bytes of a cache line
AHEAD, MANY = 4096, 8  # bytes, and rows, that are asked for before they are needed: memory answers late

_kernel: Any = njit(error_model="numpy", nogil=True, cache=True)


@_kernel
def gather_inputs(inputs, rows, scale, X_BI):  # type: ignore[no-untyped-def]
    """Of `rows` (B,) of inputs (N, F), times the scale, and a one behind them. False, and nothing, if there are no such
    rows."""
    for row in rows:
        if not 0 <= row < len(inputs):
            return False
    B, F = len(rows), inputs.shape[1]
    size = F * inputs.itemsize
    ahead = min(MANY, 1 + AHEAD // size)
    for b in range(B + ahead):
        if b < B:
            start = np.int64(inputs.ctypes.data) + rows[b] * size
            for line in range(start, start + size + LINE - 1, LINE):
                prefetch(line)
        if b >= ahead:
            X_I, x_F = X_BI[b - ahead], inputs[rows[b - ahead]]
            for i in range(F):
                X_I[i] = X_BI.dtype.type(x_F[i]) * scale
            X_I[F] = 1
    return True


@_kernel
def gather_labels(labels, rows, T_BO):  # type: ignore[no-untyped-def]
    """One-hot, or as they are in a single column."""
    for b in range(len(rows)):
        if T_BO.shape[1] == 1:
            T_BO[b, 0] = labels[rows[b]]
        else:
            T_BO[b] = 0
            T_BO[b, labels[rows[b]]] = 1


@_kernel
def gather_values(values, rows, T_BO):  # type: ignore[no-untyped-def]
    for b in range(len(rows)):
        for o in range(T_BO.shape[1]):
            T_BO[b, o] = values[rows[b], o]
