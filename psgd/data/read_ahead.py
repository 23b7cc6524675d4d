"""Reading ahead in a memory-mapped file whose rows are read in random order.

By itself the system reads page by page as rows are touched, which takes a hundred times as long as reading long pieces:
its read-ahead assumes that a file is read in order.
"""

import mmap
from collections.abc import Callable
from functools import lru_cache
from typing import Any

import numpy as np

from psgd.data.sampling.shuffle import PIECES

REMEMBERED_PIECES = 3 * PIECES  # pieces of three windows; a remembered piece is not requested again


def read_ahead_of(array: np.ndarray, rows: int) -> Callable[[np.ndarray], None] | None:
    """Return a function of row numbers (B,) that asks the system to load the pieces of `rows` rows in which they lie
    (MADV_WILLNEED), without waiting. None if the array is not mapped or the system has no madvise."""
    mapped = mapping_of(array)
    if mapped is None or not hasattr(mmap, "MADV_WILLNEED"):
        return None
    first = array.ctypes.data - np.frombuffer(mapped, np.uint8).ctypes.data
    end, piece_bytes = first + array.nbytes, rows * array.strides[0]

    @lru_cache(REMEMBERED_PIECES)
    def request_piece(piece: int) -> None:
        start = first + piece * piece_bytes
        start, stop = start - start % mmap.PAGESIZE, min(start + piece_bytes, end)
        mapped.madvise(mmap.MADV_WILLNEED, start, stop - start)

    def request(wanted: np.ndarray) -> None:
        for piece in np.unique(wanted // rows).tolist():
            request_piece(piece)

    return request


def mapping_of(array: Any) -> mmap.mmap | None:
    """Return the mapped file in which an array or memoryview lies, or None."""
    base = array
    while isinstance(base, np.ndarray | memoryview):
        base = base.base if isinstance(base, np.ndarray) else base.obj
    return base if isinstance(base, mmap.mmap) else None
