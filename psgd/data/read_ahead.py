"""Reading ahead in a memory-mapped file whose rows are wanted in random order.

Left alone, the system reads page by page as rows are touched, which takes a hundred times as long as reading long
pieces; and its own read-ahead assumes that a file is read in order.
"""

import mmap
from typing import Any, final

import numpy as np

from psgd.data.sampling.shuffle import PIECES

REMEMBERED_PIECES = 3 * PIECES  # of three windows; a piece that is remembered is not requested again


@final
class ReadAhead:
    """Requests whole pieces of `rows` rows of a mapped array as soon as one of their rows is wanted (MADV_WILLNEED)."""

    def __init__(self, array: np.ndarray, mapped: mmap.mmap, rows: int) -> None:
        self._mapped, self._rows = mapped, rows
        self._start = array.ctypes.data - np.frombuffer(mapped, np.uint8).ctypes.data
        self._end, self._piece = self._start + array.nbytes, rows * array.strides[0]
        self._requested: dict[int, None] = {}  # pieces, the oldest first

    def request(self, rows: np.ndarray) -> None:
        """Request the pieces that hold `rows` (B,), which are read next. Returns at once."""
        for piece in np.unique(rows // self._rows).tolist():
            if piece not in self._requested:
                self._requested[piece] = None
                if len(self._requested) > REMEMBERED_PIECES:
                    del self._requested[next(iter(self._requested))]
                start = self._start + piece * self._piece
                start, end = start - start % mmap.PAGESIZE, min(start + self._piece, self._end)
                self._mapped.madvise(mmap.MADV_WILLNEED, start, end - start)


def read_ahead_of(array: np.ndarray, rows: int) -> ReadAhead | None:
    """Return a ReadAhead in pieces of `rows` rows; None if the array is not mapped or the system has no madvise."""
    mapped = mapping_of(array)
    return ReadAhead(array, mapped, rows) if mapped is not None and hasattr(mmap, "MADV_WILLNEED") else None


def mapping_of(array: Any) -> mmap.mmap | None:
    """Return the mapped file in which an array or memoryview lies, or None."""
    base = array
    while isinstance(base, np.ndarray | memoryview):
        base = base.base if isinstance(base, np.ndarray) else base.obj
    return base if isinstance(base, mmap.mmap) else None
