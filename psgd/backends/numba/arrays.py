"""Arrays of numpy, as compiled code is handed them: objects of Python, of which it knows the address. It looks up what
the fields of PyArrayObject say, which numpy's C interface promises: behind the head that every object has, the address
of the data, the number of axes, and the addresses of the sizes and strides of these."""

from typing import Any

from numba import njit
from numba.np.numpy_support import carray

from psgd.backends.numba.calls import pointer, word

HEAD = object.__basicsize__
inlined: Any = njit(error_model="numpy")  # numpy's errors: a loop that may raise ZeroDivisionError is not vectorised


@inlined
def data(array):  # type: ignore[no-untyped-def]
    return word(array + HEAD)


@inlined
def size(array, axis):  # type: ignore[no-untyped-def]
    return word(word(array + HEAD + 16) + 8 * axis)


@inlined
def stride(array, axis):  # type: ignore[no-untyped-def]
    """Bytes."""
    return word(word(array + HEAD + 24) + 8 * axis)


@inlined
def vector(array, kind):  # type: ignore[no-untyped-def]
    """(N,), without gaps."""
    return carray(pointer(data(array)), size(array, 0), kind)


@inlined
def matrix(array, kind):  # type: ignore[no-untyped-def]
    """(N, M), without gaps."""
    return carray(pointer(data(array)), (size(array, 0), size(array, 1)), kind)


@inlined
def line(array, number, kind):  # type: ignore[no-untyped-def]
    """The line of that number in (N, M), where gaps may lie between the lines."""
    return carray(pointer(data(array) + number * stride(array, 0)), size(array, 1), kind)
