"""Objects whose arrays lie in shared memory: pickled without the arrays, which are copied there once."""

import pickle
from collections.abc import Sequence
from typing import Any, NamedTuple

from psgd.data.read_ahead import mapping_of
from psgd.group.spin_barrier import CACHE_LINE_BYTES


class Packed(NamedTuple):
    pickled: bytes  # the object without its arrays
    arrays: list[memoryview]  # their bytes

    @property
    def sizes(self) -> list[int]:
        return [array.nbytes for array in self.arrays]


def pack(thing: object) -> Packed | None:
    """The object in two parts; None if an array is mapped from a file: its pages are shared anyway, and the file may be
    larger than memory."""
    buffers: list[pickle.PickleBuffer] = []
    pickled = pickle.dumps(thing, protocol=5, buffer_callback=buffers.append)
    if any(mapping_of(memoryview(buffer).obj) is not None for buffer in buffers):
        return None
    return Packed(pickled, [buffer.raw() for buffer in buffers])


def aligned_bytes(sizes: Sequence[int]) -> int:
    """Bytes that arrays of these sizes take together: each starts on a cache line."""
    return sum(-(-size // CACHE_LINE_BYTES) * CACHE_LINE_BYTES for size in sizes)


def copy_to_shared(arrays: list[memoryview], memory: memoryview) -> None:
    """Copy the arrays to `memory` and release each one at once, the largest first, so that little is held twice."""
    sizes = [array.nbytes for array in arrays]
    parts = _parts(sizes, memory)
    for i in sorted(range(len(sizes)), key=lambda i: -sizes[i]):
        parts[i][:] = arrays[i]
        arrays[i] = memoryview(b"")


def unpack(pickled: bytes, sizes: Sequence[int], memory: memoryview) -> Any:
    """The object, with read-only arrays in `memory`."""
    return pickle.loads(pickled, buffers=[part.toreadonly() for part in _parts(sizes, memory)])


def _parts(sizes: Sequence[int], memory: memoryview) -> list[memoryview]:
    starts = [aligned_bytes(sizes[:i]) for i in range(len(sizes))]
    return [memory[start : start + size] for start, size in zip(starts, sizes, strict=True)]
