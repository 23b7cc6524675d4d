"""Objects whose arrays lie in memory that is shared: pickled without the arrays, which are only copied there once."""

import pickle
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from psgd.data.pages import Pages, address_of, mapping_of

_LINE = 64  # bytes: arrays start on a cache line
_PIECE = 1 << 20  # bytes that are copied at once


class Packed(NamedTuple):
    pickled: bytes  # without the arrays
    arrays: list[memoryview]  # their bytes

    @property
    def sizes(self) -> list[int]:
        return [array.nbytes for array in self.arrays]


def pack(thing: object) -> Packed | None:
    """None if an array is mapped from a file, whose pages are shared anyway, and may be more than fit in memory."""
    buffers: list[pickle.PickleBuffer] = []
    pickled = pickle.dumps(thing, protocol=5, buffer_callback=buffers.append)
    places = [mapping_of(memoryview(buffer).obj) for buffer in buffers]
    if any(place is not None and not isinstance(place, Pages) for place in places):
        return None
    return Packed(pickled, [buffer.raw() for buffer in buffers])


def room_for(sizes: Sequence[int]) -> int:
    """Bytes that arrays of these sizes take together."""
    return sum(-(-size // _LINE) * _LINE for size in sizes)


def place(arrays: list[memoryview], memory: memoryview) -> None:
    """Copy them there and let go of each at once, the largest first: so little is in memory twice."""
    sizes, sources = [array.nbytes for array in arrays], [mapping_of(array) for array in arrays]
    parts = _parts(sizes, memory)
    for i in sorted(range(len(sizes)), key=lambda i: -sizes[i]):
        source = sources[i]
        if isinstance(source, Pages) and sources.count(source) == 1:
            _move(arrays[i], source, parts[i])
        else:
            parts[i][:] = arrays[i]
        arrays[i] = memoryview(b"")


def _move(array: memoryview, pages: Pages, part: memoryview) -> None:
    """Piece by piece; `pages`, in which it lies alone, are given back behind it."""
    begin = address_of(np.frombuffer(array, np.uint8)) - address_of(np.frombuffer(pages, np.uint8))
    for start in range(0, array.nbytes, _PIECE):
        part[start : start + _PIECE] = array[start : start + _PIECE]
        pages.give_back(begin + start, begin + min(start + _PIECE, array.nbytes))


def unpack(pickled: bytes, sizes: Sequence[int], memory: memoryview) -> Any:
    """The object, with arrays in `memory` that cannot be written to."""
    return pickle.loads(pickled, buffers=[part.toreadonly() for part in _parts(sizes, memory)])


def _parts(sizes: Sequence[int], memory: memoryview) -> list[memoryview]:
    starts = [room_for(sizes[:i]) for i in range(len(sizes))]
    return [memory[start : start + size] for start, size in zip(starts, sizes, strict=True)]
