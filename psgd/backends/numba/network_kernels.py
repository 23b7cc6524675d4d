"""The passes through a network as compiled code, with numpy's bits: products by the BLAS routines that numpy and scipy
call, with the same operands, and the operations of activations in the same order.
"""

from typing import Any, NamedTuple

import numpy as np
from numba.np.numpy_support import carray

from psgd.backends.numba.calls import call, pointer
from psgd.backends.numba.compiler import inlined, kernel

SIGMOID_ELEMENTS = 4096  # of a part that stays in the L1 cache between the steps of a sigmoid

# Columns of the int64 table of layers. Row 0 is the batch, whose OUTPUTS are the features. INPUTS includes the constant
# 1; OFFSET: index of the first weight in the parameters; Z, A, D: addresses of logits, outputs (which may overwrite the
# logits) and deltas, by example or by output, all with the leading dimension LD; TRANSPOSES, TWO_PASSES: see
# layer_plan.py; FORWARD, BACKWARD: the activation to apply in each pass, or NONE.
FIELDS = 13
INPUTS, OUTPUTS, OFFSET, EXAMPLES, Z, A, D, LD, BY_EXAMPLE, TRANSPOSES, TWO_PASSES, FORWARD, BACKWARD = range(FIELDS)
NONE, RELU, SIGMOID, TANH = range(4)
# Elements of the int64 vector of addresses.
ROUTINES = 8
GEMM, GEMV, SCIPY_GEMM, EXP, EXP_DATA, TANH_LOOP, TANH_DATA, SCRATCH = range(ROUTINES)


class Matrix(NamedTuple):
    """Column-major, as Fortran sees it: weights are (O, I), outputs and deltas (O, B)."""

    address: Any
    ld: int  # leading dimension
    transposed: bool  # whether the transpose of the matrix is stored


@kernel
def forward(P, X, T, layers, routines):  # type: ignore[no-untyped-def]
    """Compute all outputs for parameters P (P,) and inputs X (B, I); the last D = A - T, unless T (B, O) is empty."""
    layers[0, A] = X.ctypes.data
    if layers[0, BY_EXAMPLE]:
        layers[0, LD] = X.strides[0] // X.itemsize
    for number in range(1, len(layers)):
        below, layer = layers[number - 1], layers[number]
        _layer_product(P, below, layer, routines)
        count = _stored(layer)
        A_ = carray(pointer(layer[A]), count, P.dtype)
        if layer[Z] != layer[A]:
            A_[:] = carray(pointer(layer[Z]), count, P.dtype)
        _activate(layer[FORWARD], A_, routines)  # in place, or compilers could not vectorize its loops
        if layer[BY_EXAMPLE]:  # elementwise work went over the column of ones too
            A_BI = carray(pointer(layer[A]), (layer[EXAMPLES], layer[LD]), P.dtype)
            for b in range(layer[EXAMPLES]):
                A_BI[b, layer[OUTPUTS]] = P.dtype.type(1)
    if T.size:  # the last layer's outputs are stored by output
        (B, O), last = T.shape, layers[-1]  # noqa: E741
        A_OB, D_OB = carray(pointer(last[A]), (O, B), T.dtype), carray(pointer(last[D]), (O, B), T.dtype)
        for o in range(O):
            for b in range(B):
                D_OB[o, b] = A_OB[o, b] - T[b, o]


@kernel
def gradient(P, layers, routines, out):  # type: ignore[no-untyped-def]
    """Write the mean gradient to `out` (P,), from the deltas in the last layer's D."""
    last = layers[-1]
    _activation_deltas(P, last)
    D_OB = carray(pointer(last[D]), last[OUTPUTS] * last[EXAMPLES], P.dtype)
    share = P.dtype.type(1.0 / last[EXAMPLES])
    for i in range(D_OB.size):
        D_OB[i] *= share
    for number in range(len(layers) - 1, 0, -1):
        below, layer = layers[number - 1], layers[number]
        if number > 1:
            _deltas_below(P, below, layer, routines)
        _weight_gradient(below, layer, routines, out[layer[OFFSET] :])
        if number > 1:
            _activation_deltas(P, below)


@kernel
def descend(P, layers, routines, alpha, keep):  # type: ignore[no-untyped-def]
    """W <- keep W + alpha A D^T in every layer, in place in P (P,); biases are not multiplied by `keep`."""
    one, alpha, keep = P.dtype.type(1), P.dtype.type(alpha), P.dtype.type(keep)
    _activation_deltas(P, layers[-1])
    for number in range(len(layers) - 1, 0, -1):
        below, layer = layers[number - 1], layers[number]
        if number > 1:
            _deltas_below(P, below, layer, routines)
        I, O, B = layer[INPUTS], layer[OUTPUTS], layer[EXAMPLES]  # noqa: E741
        W = P[layer[OFFSET] : layer[OFFSET] + I * O]
        if keep != one:
            for i in range(W.size - O):
                W[i] *= keep
        if layer[TWO_PASSES]:
            product = carray(pointer(routines[SCRATCH]), W.size, P.dtype)
            _weight_gradient(below, layer, routines, product)
            for i in range(W.size):
                W[i] += product[i] * alpha
        else:
            to, deltas, inputs = (
                Matrix(np.int64(W.ctypes.data), O, False),
                _matrix(layer[D], layer),
                _matrix(below[A], below),
            )
            _gemm(routines[SCIPY_GEMM], deltas, _transpose(inputs), to, O, I, B, alpha, one)
        if number > 1:
            _activation_deltas(P, below)


@inlined
def _stored(layer):  # type: ignore[no-untyped-def]
    """Return the number of elements of a layer's outputs in memory, with gaps."""
    return layer[LD] * (layer[EXAMPLES] if layer[BY_EXAMPLE] else layer[OUTPUTS])


@inlined
def _layer_product(P, below, layer, routines):  # type: ignore[no-untyped-def]
    """Write W A, with A of the layer below, to the layer's Z."""
    I, O, B, one = layer[INPUTS], layer[OUTPUTS], layer[EXAMPLES], P.dtype.type(1)  # noqa: E741
    W, inputs = _weights(P, layer), _matrix(below[A], below)
    if not layer[TRANSPOSES]:
        _product(routines, W, inputs, _matrix(layer[Z], layer), O, B, I, one)
        return
    _product(routines, W, inputs, Matrix(routines[SCRATCH], O, False), O, B, I, one)
    Z_BO = carray(pointer(routines[SCRATCH]), (B, O), P.dtype)
    Z_OB = carray(pointer(layer[Z]), (O, B), P.dtype)
    for b in range(B):
        for o in range(O):
            Z_OB[o, b] = Z_BO[b, o]


@inlined
def _deltas_below(P, below, layer, routines):  # type: ignore[no-untyped-def]
    """Write W^T D, the deltas of a layer propagated back through its weights, to the layer below."""
    W, deltas, to = _weights(P, layer), _matrix(layer[D], layer), _matrix(below[D], below)
    _product(routines, _transpose(W), deltas, to, below[OUTPUTS], layer[EXAMPLES], layer[OUTPUTS], P.dtype.type(1))


@inlined
def _weight_gradient(below, layer, routines, out):  # type: ignore[no-untyped-def]
    """Write D A^T to the beginning of `out`."""
    deltas, inputs = _matrix(layer[D], layer), _matrix(below[A], below)
    to = Matrix(np.int64(out.ctypes.data), layer[OUTPUTS], False)
    one = out.dtype.type(1)
    _product(routines, deltas, _transpose(inputs), to, layer[OUTPUTS], layer[INPUTS], layer[EXAMPLES], one)


@inlined
def _product(routines, L, R, to, m, n, k, one):  # type: ignore[no-untyped-def]
    """Write L (m, k) times R (k, n) to `to`, by the routine that numpy calls. Vectors must be contiguous."""
    zero = one - one
    if m == 1:
        _gemv(routines[GEMV], _transpose(R), L.address, to.address, n, k, one, zero)
    elif n == 1:
        _gemv(routines[GEMV], L, R.address, to.address, m, k, one, zero)
    else:
        _gemm(routines[GEMM], L, R, to, m, n, k, one, zero)


@inlined
def _gemm(routine, L, R, to, m, n, k, alpha, beta):  # type: ignore[no-untyped-def]
    if to.transposed:
        L, R, m, n = _transpose(R), _transpose(L), n, m
    left, right, result = (pointer(L.address), L.ld), (pointer(R.address), R.ld), (pointer(to.address), to.ld)
    call(routine, (L.transposed, R.transposed, m, n, k, alpha, *left, *right, beta, *result))


@inlined
def _gemv(routine, M, x, y, m, k, alpha, beta):  # type: ignore[no-untyped-def]
    rows, columns = (k, m) if M.transposed else (m, k)
    call(routine, (M.transposed, rows, columns, alpha, pointer(M.address), M.ld, pointer(x), 1, beta, pointer(y), 1))


@inlined
def _weights(P, layer):  # type: ignore[no-untyped-def]
    return Matrix(np.int64(P.ctypes.data) + P.itemsize * layer[OFFSET], layer[OUTPUTS], False)


@inlined
def _matrix(address, layer):  # type: ignore[no-untyped-def]
    """Return a layer's outputs or deltas, at `address`."""
    return Matrix(address, layer[LD], layer[BY_EXAMPLE] == 0)


@inlined
def _transpose(M):  # type: ignore[no-untyped-def]
    return Matrix(M.address, M.ld, not M.transposed)


@inlined
def _ufunc(loop, data, Z):  # type: ignore[no-untyped-def]
    """Apply a ufunc's inner `loop`, called with its `data`, to contiguous Z, in place."""
    operand = pointer(Z.ctypes.data)
    call(loop, ((operand, operand), Z.size, (Z.itemsize, Z.itemsize), pointer(data)))


@inlined
def _activate(kind, Z, routines):  # type: ignore[no-untyped-def]
    zero, one = Z.dtype.type(0), Z.dtype.type(1)
    if kind == RELU:
        for i in range(Z.size):
            Z[i] = Z[i] if Z[i] > zero or Z[i] != Z[i] else zero  # as np.maximum, which keeps NaN
    elif kind == TANH:
        _ufunc(routines[TANH_LOOP], routines[TANH_DATA], Z)
    elif kind == SIGMOID:
        for start in range(0, Z.size, SIGMOID_ELEMENTS):
            z = Z[start : start + SIGMOID_ELEMENTS]
            for i in range(z.size):
                z[i] = -z[i]
            _ufunc(routines[EXP], routines[EXP_DATA], z)
            for i in range(z.size):
                z[i] = one / (z[i] + one)


@inlined
def _activation_deltas(P, layer):  # type: ignore[no-untyped-def]
    """Replace a layer's dL/dA by dL/dZ, in D."""
    zero, one, count = P.dtype.type(0), P.dtype.type(1), _stored(layer)
    A_, D_ = carray(pointer(layer[A]), count, P.dtype), carray(pointer(layer[D]), count, P.dtype)
    if layer[BACKWARD] == RELU:
        for i in range(count):
            D_[i] = D_[i] if A_[i] != zero else zero
    elif layer[BACKWARD] == TANH:
        for i in range(count):
            D_[i] *= one - A_[i] * A_[i]
    elif layer[BACKWARD] == SIGMOID:
        for i in range(count):
            D_[i] *= (one - A_[i]) * A_[i]
