"""Rows of a dataset gathered in one pass."""

from collections.abc import Iterator
from typing import Any

import numpy as np

from psgd.backends.numba.arrays import inlined, matrix, vector
from psgd.backends.numba.calls import prefetch
from psgd.backends.numba.kernel import Kernel

LINE = 64  # bytes of a cache line
AHEAD, MANY = 4096, 8  # bytes, and rows, that are asked for before they are needed: memory answers late


def kernels(number: Any) -> Iterator[Kernel]:
    """By the type of what is gathered: inputs (N, F), by `rows` (B,) int64 of it and a scale, to X_BI; labels (N,), or
    values (N, O), to T_BO."""
    for kind in (np.uint8, np.float32, np.float64):
        yield Kernel(f"gather_inputs_{kind.__name__}", _inputs_of(kind, number), "aara", "i")
    for kind in (np.float32, np.float64):
        yield Kernel(f"gather_values_{kind.__name__}", _values_of(kind, number), "aaa")

    def labels(labels, rows, T_BO):  # type: ignore[no-untyped-def]
        _labels(vector(labels, np.int64), vector(rows, np.int64), matrix(T_BO, number))

    yield Kernel("gather_labels_int64", labels, "aaa")


def _inputs_of(kind: Any, number: Any) -> Any:
    def inputs(inputs, rows, scale, X_BI):  # type: ignore[no-untyped-def]
        return _inputs(matrix(inputs, kind), vector(rows, np.int64), scale, matrix(X_BI, number))

    return inputs


def _values_of(kind: Any, number: Any) -> Any:
    def values(values, rows, T_BO):  # type: ignore[no-untyped-def]
        _values(matrix(values, kind), vector(rows, np.int64), matrix(T_BO, number))

    return values


@inlined
def _inputs(inputs, rows, scale, X_BI):  # type: ignore[no-untyped-def]
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


@inlined
def _labels(labels, rows, T_BO):  # type: ignore[no-untyped-def]
    """One-hot, or as they are in a single column."""
    for b in range(len(rows)):
        if T_BO.shape[1] == 1:
            T_BO[b, 0] = labels[rows[b]]
        else:
            T_BO[b] = 0
            T_BO[b, labels[rows[b]]] = 1


@inlined
def _values(values, rows, T_BO):  # type: ignore[no-untyped-def]
    for b in range(len(rows)):
        for o in range(T_BO.shape[1]):
            T_BO[b, o] = values[rows[b], o]
