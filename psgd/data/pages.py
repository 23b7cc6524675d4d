"""Memory that can be given back before all of it is done with, and what lies in it."""

import mmap
from io import BufferedIOBase
from typing import Any, final

import numpy as np

PIECE = 1 << 20  # bytes that are read at once, of which some files make a copy


@final
class Pages(mmap.mmap):
    """Private memory, of no file."""

    def __new__(cls, size: int) -> "Pages":
        return super().__new__(cls, -1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)

    def give_back(self, start: int, end: int) -> None:
        """The whole pages between these places, which are 0 from now on."""
        start, end = -(-start // mmap.PAGESIZE) * mmap.PAGESIZE, end // mmap.PAGESIZE * mmap.PAGESIZE
        if start < end and hasattr(mmap, "MADV_DONTNEED"):
            self.madvise(mmap.MADV_DONTNEED, start, end - start)


def read_whole(file: BufferedIOBase, expected: int) -> bytes | Pages:
    """All that `file` holds from here on, in Pages if it is as much as expected."""
    if not expected:
        return file.read()
    pages, done = Pages(expected), 0
    with memoryview(pages) as view:
        while count := file.readinto(view[done : done + PIECE]):
            done += count
        rest = file.read()
        return pages if done == expected and not rest else bytes(view[:done]) + rest


def mapping_of(array: Any) -> mmap.mmap | None:
    """What an array lies in, if that is a mapped file or Pages."""
    base = array
    while isinstance(base, np.ndarray | memoryview):
        base = base.base if isinstance(base, np.ndarray) else base.obj
    return base if isinstance(base, mmap.mmap) else None


def address_of(array: np.ndarray) -> int:
    return int(array.__array_interface__["data"][0])
