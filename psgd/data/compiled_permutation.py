"""numpy's permutations, compiled by numba: the same rows from the same stream, in a fraction of the time."""

from typing import Any

import numpy as np
from numba import njit

from psgd.data.deal import Permutation

AT_ONCE = 2048  # numbers of 64 bits that are drawn by one call: so little that they stay in the first cache
LARGE = 1 << 31  # rows for which numpy draws otherwise

_kernel: Any = njit(error_model="numpy", nogil=True, cache=True)


def permutation(draw: np.random.Generator, size: int) -> np.ndarray:
    """As draw.permutation(size), of a stream from which nothing has been drawn, nor is later."""
    if size >= LARGE:
        return draw.permutation(size)
    rows, left = np.arange(size), size
    while left > 1:
        left = _exchange(rows, left, draw.bit_generator.random_raw(min(AT_ONCE, left)).view(np.uint32))
    return rows


def proven() -> Permutation:
    """This one; or numpy's, should it come to draw in another way."""
    for seed, size in enumerate((2, 3, 100, 1000, 20_000)):
        ours, numpys = (np.random.Generator(np.random.Philox(seed)) for _ in range(2))
        if not np.array_equal(permutation(ours, size), numpys.permutation(size)):
            return np.random.Generator.permutation
    return permutation


@_kernel
def _exchange(rows, left, drawn):  # type: ignore[no-untyped-def]
    """Fisher and Yates: each row, from the last of those left on, changes places with one that is not behind it; drawn
    are as many bits as there are in its place, again and again until they name one. As far as these go -> rows left."""
    places = np.empty(drawn.size, np.uint32)  # found first: no branch hangs on whether one is taken, which is a toss
    last = i = left - 1
    k = 0
    while i > 0 and k < drawn.size:
        mask = i
        for shift in (1, 2, 4, 8, 16):
            mask |= mask >> shift
        while i > mask >> 1 and k < drawn.size:
            place = np.int64(drawn[k]) & mask
            places[last - i] = place
            i -= place <= i
            k += 1
    for n in range(last - i):
        place = places[n]
        rows[last - n], rows[place] = rows[place], rows[last - n]
    return i + 1
