"""The passes through a network as numba compiles them: the products by the BLAS that numpy's and scipy's calls go to,
with the same operands, and the activations' operations in their order, so the same bits.
"""

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
from numba.np.numpy_support import carray

from psgd.backends.numba.arrays import data, inlined, stride, vector
from psgd.backends.numba.calls import gemm, gemv, pointer, ufunc
from psgd.backends.numba.kernel import Kernel
from psgd.backends.numba.records import LAYER, RELU, ROUTINES, SIGMOID, TANH

PART = 4096  # numbers that stay in the first cache between two passes


class Matrix(NamedTuple):
    """By columns, as Fortran has them: weights are (O, I), outputs and deltas (O, B)."""

    at: Any  # address
    line: int  # how many numbers lie from a column to the next
    turned: bool  # it is its transpose that lies there


def kernels(number: Any) -> Iterator[Kernel]:
    """P (P,) parameters; X (B, I) inputs, with their ones; a record of each layer; one of the routines."""

    def forward(P, X, layers, routines):  # type: ignore[no-untyped-def]
        _forward(vector(P, number), X, vector(layers, LAYER), vector(routines, ROUTINES)[0])

    def gradient(P, layers, routines, out):  # type: ignore[no-untyped-def]
        _gradients(vector(P, number), vector(layers, LAYER), vector(routines, ROUTINES)[0], vector(out, number))

    def descend(P, layers, routines, alpha, keep):  # type: ignore[no-untyped-def]
        _descend(vector(P, number), vector(layers, LAYER), vector(routines, ROUTINES)[0], alpha, keep)

    yield Kernel("forward", forward, "aaaa")
    yield Kernel("gradient", gradient, "aaaa")
    yield Kernel("descend", descend, "aaarr")


@inlined
def _forward(P, X, layers, routines):  # type: ignore[no-untyped-def]
    """The outputs of every layer."""
    layers[0].A = data(X)
    if layers[0].by_example:
        layers[0].line = stride(X, 0) // P.itemsize
    for number in range(1, layers.size):
        under, layer = layers[number - 1], layers[number]
        _multiply(P, under, layer, routines)
        rows = layer.examples if layer.by_example else layer.outputs
        A = carray(pointer(layer.A), rows * layer.line, P.dtype)
        _activate(layer.activation, A, routines)
        if layer.by_example:  # the ones between the outputs went with them
            for b in range(rows):
                A[b * layer.line + layer.outputs] = P.dtype.type(1)


@inlined
def _gradients(P, layers, routines, out):  # type: ignore[no-untyped-def]
    """The gradient of every weight, from the deltas of the last layer; those of the others are made on the way."""
    for number in range(layers.size - 1, 0, -1):
        under, layer = layers[number - 1], layers[number]
        if number > 1:
            _back(P, under, layer, routines)
        _gradient(under, layer, routines, out[layer.weights :])
        if number > 1:
            _slopes(P, under)


@inlined
def _descend(P, layers, routines, alpha, keep):  # type: ignore[no-untyped-def]
    """The same, but W <- keep W + alpha times it, where the biases are kept as they are."""
    one = P.dtype.type(1)
    for number in range(layers.size - 1, 0, -1):
        under, layer = layers[number - 1], layers[number]
        if number > 1:
            _back(P, under, layer, routines)
        I, O, B = layer.inputs, layer.outputs, layer.examples  # noqa: E741
        W = P[layer.weights : layer.weights + I * O]
        if keep != one:
            for i in range(W.size - O):
                W[i] *= keep
        if layer.two_passes:
            product = carray(pointer(routines.spare), W.size, P.dtype)
            _gradient(under, layer, routines, product)
            for i in range(W.size):
                W[i] += product[i] * alpha
        else:
            to, D, A = Matrix(np.int64(W.ctypes.data), O, False), _matrix(layer.D, layer), _matrix(under.A, under)
            _gemm(routines.gemm_in_place, D, _turned(A), to, O, I, B, alpha, one)
        if number > 1:
            _slopes(P, under)


@inlined
def _multiply(P, under, layer, routines):  # type: ignore[no-untyped-def]
    """W A, of the outputs A under a layer, to where its outputs shall be."""
    I, O, B = layer.inputs, layer.outputs, layer.examples  # noqa: E741
    W, A = _weights(P, layer), _matrix(under.A, under)
    if not layer.transposed:
        _product(routines, W, A, _matrix(layer.A, layer), O, B, I, P.dtype.type(1))
        return
    _product(routines, W, A, Matrix(routines.spare, O, False), O, B, I, P.dtype.type(1))
    Z_BO, Z_OB = carray(pointer(routines.spare), (B, O), P.dtype), carray(pointer(layer.A), (O, B), P.dtype)
    for b in range(B):
        for o in range(O):
            Z_OB[o, b] = Z_BO[b, o]


@inlined
def _back(P, under, layer, routines):  # type: ignore[no-untyped-def]
    """W^T D, the deltas of a layer back through its weights."""
    W, D, to = _weights(P, layer), _matrix(layer.D, layer), _matrix(under.D, under)
    _product(routines, _turned(W), D, to, under.outputs, layer.examples, layer.outputs, P.dtype.type(1))


@inlined
def _gradient(under, layer, routines, out):  # type: ignore[no-untyped-def]
    """D A^T, to the beginning of `out`."""
    D, A, to = _matrix(layer.D, layer), _matrix(under.A, under), Matrix(np.int64(out.ctypes.data), layer.outputs, False)
    _product(routines, D, _turned(A), to, layer.outputs, layer.inputs, layer.examples, out.dtype.type(1))


@inlined
def _product(routines, L, R, to, m, n, k, one):  # type: ignore[no-untyped-def]
    """L (m, k) times R (k, n), by the routine that numpy takes; vectors have to lie without gaps."""
    zero = one - one
    if m == 1:
        _gemv(routines.gemv, _turned(R), L.at, to.at, n, k, one, zero)
    elif n == 1:
        _gemv(routines.gemv, L, R.at, to.at, m, k, one, zero)
    else:
        _gemm(routines.gemm, L, R, to, m, n, k, one, zero)


@inlined
def _gemm(routine, L, R, to, m, n, k, alpha, beta):  # type: ignore[no-untyped-def]
    if to.turned:
        gemm(routine, not R.turned, not L.turned, n, m, k, alpha, R.at, R.line, L.at, L.line, beta, to.at, to.line)
    else:
        gemm(routine, L.turned, R.turned, m, n, k, alpha, L.at, L.line, R.at, R.line, beta, to.at, to.line)


@inlined
def _gemv(routine, M, x, y, m, k, alpha, beta):  # type: ignore[no-untyped-def]
    rows, columns = (k, m) if M.turned else (m, k)
    gemv(routine, M.turned, rows, columns, alpha, M.at, M.line, x, beta, y)


@inlined
def _weights(P, layer):  # type: ignore[no-untyped-def]
    return Matrix(np.int64(P.ctypes.data) + P.itemsize * layer.weights, layer.outputs, False)


@inlined
def _matrix(at, layer):  # type: ignore[no-untyped-def]
    """A layer's outputs or deltas."""
    return Matrix(at, layer.line, layer.by_example == 0)


@inlined
def _turned(M):  # type: ignore[no-untyped-def]
    return Matrix(M.at, M.line, not M.turned)


@inlined
def _activate(kind, Z, routines):  # type: ignore[no-untyped-def]
    zero, one = Z.dtype.type(0), Z.dtype.type(1)
    if kind == RELU:
        for i in range(Z.size):
            Z[i] = Z[i] if Z[i] > zero or Z[i] != Z[i] else zero  # as np.maximum, which keeps what is not a number
    elif kind == TANH:
        ufunc(routines.tanh, routines.tanh_data, Z.ctypes.data, Z.size, Z.itemsize)
    elif kind == SIGMOID:
        for start in range(0, Z.size, PART):
            z = Z[start : start + PART]
            for i in range(z.size):
                z[i] = -z[i]
            ufunc(routines.exp, routines.exp_data, z.ctypes.data, z.size, z.itemsize)
            for i in range(z.size):
                z[i] = one / (z[i] + one)


@inlined
def _slopes(P, layer):  # type: ignore[no-untyped-def]
    """dL/dA of a layer to dL/dZ."""
    zero, one = P.dtype.type(0), P.dtype.type(1)
    count = layer.line * (layer.examples if layer.by_example else layer.outputs)
    A, D = carray(pointer(layer.A), count, P.dtype), carray(pointer(layer.D), count, P.dtype)
    if layer.activation == RELU:
        for i in range(count):
            D[i] = D[i] if A[i] != zero else zero
    elif layer.activation == TANH:
        for i in range(count):
            D[i] *= one - A[i] * A[i]
    elif layer.activation == SIGMOID:
        for i in range(count):
            D[i] *= (one - A[i]) * A[i]
