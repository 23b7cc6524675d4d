"""Objects whose arrays lie in memory that is shared: pickled without the arrays, which are only copied there once."""

import pickle
from collections.abc import Sequence
from typing import Any, NamedTuple

from psgd.data.read_ahead import mapping_of

_LINE = 64  # bytes: arrays start on a cache line


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
    if any(mapping_of(memoryview(buffer).obj) is not None for buffer in buffers):
        return None
    return Packed(pickled, [buffer.raw() for buffer in buffers])


def room_for(sizes: Sequence[int]) -> int:
    """Bytes that arrays of these sizes take together."""
    return sum(-(-size // _LINE) * _LINE for size in sizes)


def place(arrays: list[memoryview], memory: memoryview) -> None:
    """Copy them there and let go of each at once, the largest first: so little is in memory twice."""
    sizes = [array.nbytes for array in arrays]
    parts = _parts(sizes, memory)
    for i in sorted(range(len(sizes)), key=lambda i: -sizes[i]):
        parts[i][:] = arrays[i]
        arrays[i] = memoryview(b"")


def unpack(pickled: bytes, sizes: Sequence[int], memory: memoryview) -> Any:
    """The object, with arrays in `memory` that cannot be written to."""
    return pickle.loads(pickled, buffers=[part.toreadonly() for part in _parts(sizes, memory)])


def _parts(sizes: Sequence[int], memory: memoryview) -> list[memoryview]:
    starts = [room_for(sizes[:i]) for i in range(len(sizes))]
    return [memory[start : start + size] for start, size in zip(starts, sizes, strict=True)]
