"""Cutting a vector into blocks that fit the CPU's cache, and sums of squares by block."""

from collections.abc import Iterator

import numpy as np

BLOCK_ELEMENTS = 32768  # 128 KiB of float32, which fit an L2 cache; another number changes the bits of norms


def blocks(start: int, stop: int) -> Iterator[slice]:
    """Yield slices of at most BLOCK_ELEMENTS from `start` to `stop`. For sums of squares by block, `start` must be
    a multiple of BLOCK_ELEMENTS."""
    for left in range(start, stop, BLOCK_ELEMENTS):
        yield slice(left, min(left + BLOCK_ELEMENTS, stop))


def squared_norm(vector: np.ndarray) -> float:
    """Sum of the squares of one block, in float64. numpy adds in pairwise order: the same bits in every process."""
    wide = vector.astype(np.float64)
    return float(np.multiply(wide, wide, out=wide).sum())
