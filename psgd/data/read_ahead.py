"""Reading a mapped file in long pieces: page by page, in the order in which rows are touched, takes a hundred times as
long, and the system's own guess at what comes next is wrong for rows in random order."""

import mmap
from typing import Any, final

import numpy as np

from psgd.data.sampling.shuffle import PIECES

_RECENT = 3 * PIECES  # pieces that are not asked for again meanwhile: three windows


@final
class Ahead:
    """Asks the system for a piece of `rows` rows of a mapped array as soon as one of them is wanted."""

    def __init__(self, array: np.ndarray, mapped: mmap.mmap, rows: int) -> None:
        self._mapped, self._rows = mapped, rows
        self._start = address_of(array) - address_of(np.frombuffer(mapped, np.uint8))
        self._end, self._piece = self._start + array.nbytes, rows * array.strides[0]
        self._asked: dict[int, None] = {}  # the oldest first

    def ask(self, rows: np.ndarray) -> None:
        """For `rows` (B,), which are touched next. Returns at once."""
        for piece in np.unique(rows // self._rows).tolist():
            if piece not in self._asked:
                self._asked[piece] = None
                if len(self._asked) > _RECENT:
                    del self._asked[next(iter(self._asked))]
                start = self._start + piece * self._piece
                start, end = start - start % mmap.PAGESIZE, min(start + self._piece, self._end)
                self._mapped.madvise(mmap.MADV_WILLNEED, start, end - start)


def ahead_of(array: np.ndarray, rows: int) -> Ahead | None:
    """None where the array is not mapped, or the system takes no advice."""
    mapped = mapping_of(array)
    if mapped is None or not hasattr(mmap, "MADV_WILLNEED"):
        return None
    return Ahead(array, mapped, rows)


def mapping_of(array: Any) -> mmap.mmap | None:
    """What an array lies in, if that is a mapped file."""
    base = array
    while isinstance(base, np.ndarray | memoryview):
        base = base.base if isinstance(base, np.ndarray) else base.obj
    return base if isinstance(base, mmap.mmap) else None


def address_of(array: np.ndarray) -> int:
    return int(array.__array_interface__["data"][0])
