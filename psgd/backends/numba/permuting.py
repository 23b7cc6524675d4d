"""The exchanges of a permutation."""

from collections.abc import Iterator
from typing import Any

import numpy as np

from psgd.backends.numba.arrays import inlined, vector
from psgd.backends.numba.kernel import Kernel


def kernels(number: Any) -> Iterator[Kernel]:
    del number

    def exchange(rows, left, drawn, places):  # type: ignore[no-untyped-def]
        return _exchange(vector(rows, np.int64), left, vector(drawn, np.uint32), vector(places, np.uint32))

    yield Kernel("exchange", exchange, "aiaa", "i")


@inlined
def _exchange(rows, left, drawn, places):  # type: ignore[no-untyped-def]
    """Fisher and Yates: each row, from the last of those left on, changes places with one that is not behind it; drawn
    are as many bits as there are in its place, again and again until they name one. As far as these go -> rows left.
    There are as many places as drawn numbers: found first, so that no branch hangs on whether one is taken, which is a
    toss."""
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
