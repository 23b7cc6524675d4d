"""A device for tests: psgd's kernels and its calls of cuBLAS, on the memory of the host.

Nothing is done before `synchronize`: what is read too early is poison, and an array that is changed or freed too early
is found. Memory is poisoned, with guards around it."""

import ctypes
import mmap
import os
import struct
import weakref
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from pretend import emulate
from psgd.backends.cuda import programs
from psgd.backends.cuda.buffers import EXPORT_BYTES
from psgd.backends.cuda.cublas import Cublas
from psgd.backends.cuda.cupy_device import gpu_out_of_memory
from psgd.backends.cuda.device import DeviceArray, Matrix, Product, Program

POISON, GUARD, GUARD_BYTES = 0xFF, 0xA7, 64
WORKSPACE_BYTES = 1024
EXPORT = struct.Struct("<qqqq")  # process, file, where in it memory begins, its size


def fake_cublas(*options: str) -> Path:
    """The library that stands for cuBLAS."""
    return emulate.build((emulate.HERE / "fake_cublas.cpp").read_text(), options=("-O3", *options))


class Memory:
    """An allocation, between guards, at an address that is a multiple of 256 as on a GPU."""

    def __init__(self, size: int) -> None:
        self.size = size
        self._bytes = self._allocated(size + 2 * GUARD_BYTES + 512)
        self._start = GUARD_BYTES + -(self._bytes.ctypes.data + GUARD_BYTES) % 256
        self.pointer = self._bytes.ctypes.data + self._start
        self._bytes[self._start : self._start + size] = POISON

    def _allocated(self, size: int) -> np.ndarray:
        return np.full(size, GUARD, np.uint8)

    def check(self) -> None:
        start, end = self._start, self._start + self.size
        for side, guard in (("before", self._bytes[start - GUARD_BYTES : start]), ("behind", self._bytes[end:])):
            if (guard != GUARD).any():
                raise AssertionError(f"something was written {side} an array of {self.size} bytes")

    def contains(self, pointer: int, size: int) -> bool:
        return self.pointer <= pointer and pointer + size <= self.pointer + self.size


class Exportable(Memory):
    """In a file without a name, which other processes find among those that this one has open; it is gone with it."""

    alive: "weakref.WeakValueDictionary[int, Exportable]" = weakref.WeakValueDictionary()  # by file

    def _allocated(self, size: int) -> np.ndarray:
        self._file = os.memfd_create("pretended GPU")
        self.alive[self._file] = self
        weakref.finalize(self, os.close, self._file)
        os.truncate(self._file, size)
        found = np.frombuffer(mmap.mmap(self._file, size), np.uint8)
        found[:] = GUARD
        return found

    def export(self) -> bytes:
        return EXPORT.pack(os.getpid(), self._file, self._start, self.size)


class Opened(Memory):
    """Memory of another process."""

    def __init__(self, process: int, file: int, start: int, size: int) -> None:
        self.size, self._start = size, start
        there = os.open(f"/proc/{process}/fd/{file}", os.O_RDWR)
        try:
            self._bytes = np.frombuffer(mmap.mmap(there, os.fstat(there).st_size), np.uint8)
        finally:
            os.close(there)
        self.pointer = self._bytes.ctypes.data + start


class Pretend:
    """psgd.backends.cuda.device.Device, with counts of what it was asked for."""

    def __init__(
        self,
        order: int = 0,
        *,
        capability: tuple[int, int] = (9, 0),
        processors: int = 132,
        shared_bytes: int = 227 << 10,
        memory: int = 1 << 30,
        fail_at: int | None = None,
    ) -> None:
        """`order`: of the threads (emulate.Emulated.launch), and where it is odd, what is beside is done last;
        `memory`: bytes; `fail_at`: the allocation, counted from 1, for which there is no room."""
        self.name = "pretended GPU"
        self.capability, self.processors, self.shared_bytes = capability, processors, shared_bytes
        self.order, self.memory, self.fail_at = order, memory, fail_at
        self.allocations = self.launches = self.products = self.uploads = self.downloads = self.synchronizes = 0
        self.captures = self.replays = 0
        self.used = 0  # bytes
        self._live: weakref.WeakSet[Memory] = weakref.WeakSet()
        self._queue: list[Callable[[], None]] = []
        self._uploading: list[tuple[int, int]] = []  # addresses: from, to
        self._recording: list[Callable[[], None]] | None = None
        self._is_beside = False
        self._beside: list[Callable[[], None]] | None = None  # what must be joined, of it what is done then
        self._workspace = Memory(WORKSPACE_BYTES)
        self._cublas = Cublas(str(fake_cublas()), 0x57EA, self._workspace.pointer, WORKSPACE_BYTES)

    def empty(self, shape: tuple[int, ...], dtype: np.dtype) -> DeviceArray:
        self._not_while_capturing("an allocation")
        size = int(np.prod(shape, dtype=np.int64)) * np.dtype(dtype).itemsize
        self.allocations += 1
        if self.allocations == self.fail_at or self.used + size > self.memory:
            raise gpu_out_of_memory(size, self.free_bytes(), self.name)
        memory = Exportable(size) if size and size % EXPORT_BYTES == 0 else Memory(size)
        self.used += size
        self._live.add(memory)
        weakref.finalize(memory, self._freed, size)
        return DeviceArray(memory.pointer, tuple(shape), np.dtype(dtype), memory)

    def staging(self, shape: tuple[int, ...], dtype: np.dtype) -> np.ndarray:
        return _poisoned(np.empty(shape, dtype))

    def upload(self, host: np.ndarray, to: DeviceArray) -> None:
        self._not_while_capturing("an upload")
        _check_copy(host, to)
        self.uploads += 1
        at, size, crc, owner = host.ctypes.data, host.nbytes, zlib.crc32(_bytes(host)), weakref.ref(_owner(host))
        self._uploading.append((at, at + size))

        def copy() -> None:
            assert owner() is not None, "an array was freed between its upload and synchronize"
            assert zlib.crc32(ctypes.string_at(at, size)) == crc, (
                "an array was changed between its upload and synchronize"
            )
            ctypes.memmove(to.pointer, at, size)

        self._queue.append(copy)

    def download(self, source: DeviceArray, host: np.ndarray) -> None:
        self._not_while_capturing("a download")
        _check_copy(host, source)
        self.downloads += 1
        at = host.ctypes.data
        if not any(start < at + host.nbytes and at < stop for start, stop in self._uploading):  # which come first
            _poisoned(host)
        self._queue.append(lambda: ctypes.memmove(host.ctypes.data, source.pointer, host.nbytes) and None)

    def launch(
        self,
        program: Program,
        kernel: str,
        grid: tuple[int, ...],
        block: tuple[int, ...],
        *arguments: Any,
        shared: int = 0,
    ) -> None:
        bound = programs.bind(program, kernel, arguments)
        threads = int(np.prod(block))
        assert 1 <= threads <= 1024, f"{kernel}: {threads} threads in a block"
        assert min(grid) >= 1, f"{kernel}: a grid of {grid}"
        assert max((*grid, 1, 1)[1:3]) <= 65535, f"{kernel}: a grid of {grid}"
        assert 0 <= shared <= self.shared_bytes, f"{kernel}: {shared} bytes of shared memory"
        compiled = emulate.emulated(program)

        def act() -> None:
            self.launches += 1
            compiled.launch(kernel, grid, block, bound, shared, self.order)

        self._ask(act)

    def gemm(self, product: Product) -> None:
        m, n, k, _, a, b, _, c, count, _ = product
        for name, matrix, rows, columns in (("a", a, m, k), ("b", b, k, n), ("c", c, m, n)):
            _check_matrix(name, matrix, (columns, rows) if matrix.transposed else (rows, columns), count)

        def act() -> None:
            self.products += 1
            self._cublas.gemm(product)

        self._ask(act)

    @contextmanager
    def side_stream(self) -> Iterator[None]:
        assert not self._is_beside, "beside what is beside"
        self._is_beside, self._beside = True, self._beside or []
        yield
        self._is_beside = False

    def join(self) -> None:
        assert self._beside is not None, "nothing is beside: CUDA refuses this in a capture"
        assert not self._is_beside
        late, self._beside = self._beside, None
        for act in late:
            self._ask(act)

    def capture(self, queue: Callable[[], None]) -> Callable[[], None]:
        self._not_while_capturing("another capture")
        assert self._beside is None
        graph = self._recording = []
        try:
            queue()
            assert self._beside is None, "a capture ends before what is beside"
        finally:
            self._recording = None
        self.captures += 1

        def replay() -> None:
            self._not_while_capturing("a replay")
            self.replays += 1
            self._queue.extend(graph)

        return replay

    def synchronize(self) -> None:
        self._not_while_capturing("synchronize")
        assert self._beside is None, "what is beside is not waited for"
        self.synchronizes += 1
        queue, self._queue = self._queue, []
        self._uploading.clear()
        for act in queue:
            act()
        for memory in list(self._live):
            memory.check()

    def export(self, array: DeviceArray) -> bytes:
        memory = array.owner
        assert isinstance(memory, Exportable), f"{memory.size} bytes: what lies beside them would be exported as well"
        assert array.pointer == memory.pointer, "only whole allocations can be exported"
        return memory.export()

    def open_exported(self, exported: bytes, size: int) -> DeviceArray:
        process, file, start, allocated = EXPORT.unpack(exported)
        assert size <= allocated
        own = process == os.getpid()
        memory = Exportable.alive[file] if own else Opened(process, file, start, allocated)
        self._live.add(memory)
        return DeviceArray(memory.pointer, (size,), np.dtype(np.uint8), memory)

    def free_bytes(self) -> tuple[int, int]:
        return self.memory - self.used, self.memory

    def _ask(self, act: Callable[[], None]) -> None:
        if self._is_beside and self.order % 2:
            assert self._beside is not None
            self._beside.append(act)
            return
        (self._queue if self._recording is None else self._recording).append(act)

    def _freed(self, size: int) -> None:
        self.used -= size

    def _not_while_capturing(self, what: str) -> None:
        if self._recording is not None:
            raise RuntimeError(f"{what} while a graph is captured")


def _bytes(host: np.ndarray) -> np.ndarray:
    return host.reshape(-1).view(np.uint8)


def _owner(host: np.ndarray) -> np.ndarray:
    """The array whose memory this is, of which others are views."""
    while isinstance(host.base, np.ndarray):
        host = host.base
    return host


def _poisoned(host: np.ndarray) -> np.ndarray:
    _bytes(host)[:] = POISON
    return host


def _check_copy(host: np.ndarray, array: DeviceArray) -> None:
    assert isinstance(array, DeviceArray)
    assert host.flags.c_contiguous, "an array to copy is not C-contiguous"
    assert (host.dtype, host.size) == (array.dtype, array.size), (
        f"{host.dtype} {host.shape}, {array.dtype} {array.shape}"
    )
    assert array.owner.contains(array.pointer, array.nbytes), "a copy past the end of an array"


def _check_matrix(name: str, matrix: Matrix, shape: tuple[int, int], count: int) -> None:
    rows, columns = shape
    elements = (count - 1) * matrix.stride + (rows - 1) * matrix.leading_dimension + columns
    inside = matrix.array.owner.contains(matrix.array.pointer, elements * matrix.array.dtype.itemsize)
    assert columns <= matrix.leading_dimension, f"{name}: rows of {columns} every {matrix.leading_dimension}"
    assert inside, f"{name} ends past its array"
