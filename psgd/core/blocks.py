"""Blocks of a vector that several passes can go over without leaving the cache, and sums of squares by block."""

from collections.abc import Callable, Iterator

import numpy as np

# Writes one slice of the new replica from the reduced contributions (C, n) over that slice, which it may overwrite.
ApplyBlock = Callable[[np.ndarray, slice], None]

BLOCK_ELEMENTS = 32768  # elements of a block: 128 KiB of float32, which stay in the L2 cache


def blocks(start: int, stop: int) -> Iterator[slice]:
    """Slices of at most BLOCK_ELEMENTS. For sums of squares by block, `start` must be a multiple of BLOCK_ELEMENTS."""
    for left in range(start, stop, BLOCK_ELEMENTS):
        yield slice(left, min(left + BLOCK_ELEMENTS, stop))


def squared_norm(vector: np.ndarray) -> float:
    """Sum of squares in float64, of one block: numpy's pairwise order, the same wherever it is computed."""
    wide = vector.astype(np.float64)
    return float(np.multiply(wide, wide, out=wide).sum())
