"""A GPU through CuPy: the only module that imports it, and the only lines of the GPU's that no CPU can run."""

from __future__ import annotations

import os
import secrets
import struct
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from typing import Any, final

import numpy as np

from psgd.backends.cuda import programs
from psgd.backends.cuda.cublas import Cublas
from psgd.backends.cuda.device import Device, DeviceArray, Product, Program
from psgd.backends.cuda.kernel_cache import cached
from psgd.core.errors import UsageError
from psgd.core.wording import data_size

# Options of NVRTC, CUDA's run-time compiler. It contracts no multiplication and addition (the kernels write fma where
# that is wanted), and keeps numbers below 1.2e-38, as a CPU does: CuPy's RawModule would flush these to zero.
OPTIONS = ("-std=c++17", "--fmad=false", "-ftz=false")
WORKSPACE_BYTES = 32 << 20  # for the products of a stream: what NVIDIA recommends for its larger GPUs
PLAIN_SHARED_BYTES = 48 << 10  # of a block; a kernel that takes more must say so before it is launched

_TO_DEVICE, _TO_HOST = 1, 2  # cudaMemcpyHostToDevice, cudaMemcpyDeviceToHost
_NO_MEMORY, _OLD_DRIVER, _NO_DEVICE = 2, 35, 100  # cudaErrorMemoryAllocation, ...InsufficientDriver, ...NoDevice
_PEERS_ALREADY = 704  # cudaErrorPeerAccessAlreadyEnabled
_LAZY_PEERS = 1  # cudaIpcMemLazyEnablePeerAccess
# The process, by which it knows its own memory: a number drawn and its id; GPU; address; handle of CUDA IPC, or zeros.
_EXPORT = struct.Struct("<16sqqQ64s")
_DRAWN = secrets.token_bytes(16)


def open_device(number: int) -> Device:
    """Open GPU number `number` of those that this process may use, for this thread. UsageError that says what is
    missing."""
    try:
        import cupy
    except Exception as error:  # a broken one may raise anything
        raise UsageError(
            f"CuPy cannot be imported ({_in_short(error.__cause__ or error)}): pip install 'psgd[gpu]', or [gpu12] for "
            "CUDA 12"
        ) from None
    runtime = cupy.cuda.runtime
    try:
        return CupyDevice(cupy, number)
    except runtime.CUDARuntimeError as error:
        if error.status == _OLD_DRIVER:  # any driver of CuPy's major version of CUDA would do
            cuda = runtime.runtimeGetVersion() // 1000
            reason = f"CuPy needs a driver for CUDA {cuda}: update it, or install psgd[gpu12] in place of psgd[gpu]"
        elif error.status == _NO_DEVICE:
            reason = "there is none that can be used: look at nvidia-smi and CUDA_VISIBLE_DEVICES"
        else:
            reason = str(error)
        raise UsageError(f"GPU {number} cannot be opened: {reason}") from None
    except (ImportError, OSError, RuntimeError) as error:  # CuPy's wheel brings no libraries of CUDA along
        wheel = f"cupy-cuda{runtime.runtimeGetVersion() // 1000}x[ctk]"
        raise UsageError(
            f"GPU {number} cannot be opened: {_in_short(error)}; if a library of CUDA is missing: pip install '{wheel}'"
        ) from None


@final
class CupyDevice:
    def __init__(self, cupy: Any, number: int) -> None:
        self._cupy, self._runtime = cupy, cupy.cuda.runtime
        cupy.cuda.Device(number).use()
        about = self._runtime.getDeviceProperties(number)
        self._number, self.name = number, about["name"].decode()
        self.capability = (about["major"], about["minor"])
        self.processors, self.shared_bytes = about["multiProcessorCount"], about["sharedMemPerBlockOptin"]
        self._kernels: dict[tuple[Program, str], Any] = {}
        self._modules: dict[Program, Any] = {}
        self._shared: dict[tuple[Program, str], int] = {}  # bytes that each kernel may take
        self._compiler = cupy.__version__, cupy.cuda.nvrtc.getVersion()
        cupy.cuda.device.get_cublas_handle()  # loads the library, wherever it lies
        library = f"libcublas.so.{self._runtime.runtimeGetVersion() // 1000}"
        workspaces = [self.empty((WORKSPACE_BYTES,), np.dtype(np.uint8)) for _ in range(2)]
        self._main, self._side = (_Stream(cupy, library, workspace) for workspace in workspaces)
        self._current = self._main

    def empty(self, shape: tuple[int, ...], dtype: np.dtype) -> DeviceArray:
        array = DeviceArray(0, tuple(shape), dtype, None)
        try:  # not from CuPy's pool: memory stays where it is as long as its owner lives
            array.owner = self._cupy.cuda.Memory(max(1, array.nbytes))
        except self._runtime.CUDARuntimeError as error:
            if error.status != _NO_MEMORY:
                raise
            raise gpu_out_of_memory(array.nbytes, self.free_bytes(), self.name) from None
        array.pointer = array.owner.ptr
        return array

    def staging(self, shape: tuple[int, ...], dtype: np.dtype) -> np.ndarray:
        count = int(np.prod(shape, dtype=np.int64))
        size = count * np.dtype(dtype).itemsize
        try:
            memory = self._cupy.cuda.alloc_pinned_memory(max(1, size))
        except self._runtime.CUDARuntimeError as error:
            if error.status != _NO_MEMORY:
                raise
            raise UsageError(
                f"the {self.name} cannot reach {data_size(size)} more of the host's memory; lower workers or "
                "training.batch_size_per_worker, or look at ulimit -l"
            ) from None
        return np.frombuffer(memory, dtype, count).reshape(shape)

    def upload(self, host: np.ndarray, to: DeviceArray) -> None:
        self._runtime.memcpyAsync(to.pointer, host.ctypes.data, host.nbytes, _TO_DEVICE, self._main.stream.ptr)

    def download(self, source: DeviceArray, host: np.ndarray) -> None:
        self._runtime.memcpyAsync(host.ctypes.data, source.pointer, host.nbytes, _TO_HOST, self._main.stream.ptr)

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
        given = tuple(np.uintp(each.pointer) if isinstance(each, DeviceArray) else each for each in bound)
        self._kernel(program, kernel, shared)(grid, block, given, shared_mem=shared, stream=self._current.stream)

    def gemm(self, product: Product) -> None:
        self._current.cublas.gemm(product)

    @contextmanager
    def side_stream(self) -> Iterator[None]:
        self._side.follow(self._main)
        self._current = self._side
        try:
            yield
        finally:
            self._current = self._main

    def join(self) -> None:
        self._main.follow(self._side)

    def capture(self, queue: Callable[[], None]) -> Callable[[], None]:
        stream = self._main.stream
        stream.begin_capture()
        try:
            queue()
        except BaseException:
            # A stream that captures can do nothing else. What failed says more than that the capture did.
            with suppress(self._runtime.CUDARuntimeError):
                stream.end_capture()
            raise
        graph = stream.end_capture()
        graph.upload(stream)  # or the first replay would do it
        return lambda: graph.launch(stream)

    def synchronize(self) -> None:
        self._main.stream.synchronize()

    def export(self, array: DeviceArray) -> bytes:
        try:
            handle = self._runtime.ipcGetMemHandle(array.pointer)
        except self._runtime.CUDARuntimeError:  # some systems have no CUDA IPC, which one process does not need
            handle = b""
        return _EXPORT.pack(_DRAWN, os.getpid(), self._number, array.pointer, handle)

    def open_exported(self, exported: bytes, size: int) -> DeviceArray:
        drawn, process, number, pointer, handle = _EXPORT.unpack(exported)
        array = DeviceArray(pointer, (size,), np.dtype(np.uint8), None)
        try:
            if (drawn, process) == (_DRAWN, os.getpid()):
                self._enable_peer(number)
            else:
                array.owner = _Opened(self._cupy, self._number, handle)
                array.pointer = array.owner.pointer
        except self._runtime.CUDARuntimeError as error:
            raise UsageError(
                f"GPU {self._number} cannot reach the memory of another process's GPU ({error}); one process alone, "
                "which can train all workers, need not"
            ) from None
        return array

    def _enable_peer(self, number: int) -> None:
        if number == self._number:
            return
        try:
            self._runtime.deviceEnablePeerAccess(number)
        except self._runtime.CUDARuntimeError as error:
            if error.status != _PEERS_ALREADY:
                raise

    def free_bytes(self) -> tuple[int, int]:
        free, total = self._runtime.memGetInfo()
        return free, total

    def _kernel(self, program: Program, kernel: str, shared: int) -> Any:
        key = program, kernel
        if key not in self._kernels:
            self._kernels[key] = self._module(program).get_function(kernel)
            self._shared[key] = PLAIN_SHARED_BYTES
        if shared > self._shared[key]:
            driver = self._cupy.cuda.driver
            attribute = driver.CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES
            driver.funcSetAttribute(self._kernels[key].ptr, attribute, shared)
            self._shared[key] = shared
        return self._kernels[key]

    def _module(self, program: Program) -> Any:
        if program not in self._modules:
            cuda, text = self._cupy.cuda, programs.source(program)
            key = repr((text, OPTIONS, self.capability, self._compiler))
            compile = partial(cuda.compiler.compile_using_nvrtc, text, OPTIONS, cache_in_memory=True)
            module = cuda.function.Module()
            module.load(cached(key, lambda: compile()[0]))
            self._modules[program] = module
        return self._modules[program]


@final
class _Stream:
    """A stream and the products in it. These have memory of their own for the sums of their parts."""

    def __init__(self, cupy: Any, library: str, workspace: DeviceArray) -> None:
        self.stream, self._event = cupy.cuda.Stream(non_blocking=True), cupy.cuda.Event(disable_timing=True)
        self._workspace = workspace  # kept
        self.cublas = Cublas(library, self.stream.ptr, workspace.pointer, workspace.nbytes)

    def follow(self, other: _Stream) -> None:
        """Let all that is queued here later wait for what is queued there now."""
        other.stream.record(self._event)
        self.stream.wait_event(self._event)


@final
class _Opened:
    """Memory of another process, mapped until nobody refers to it. It must be unmapped before that process frees it."""

    def __init__(self, cupy: Any, number: int, handle: bytes) -> None:
        self.pointer: int = cupy.cuda.runtime.ipcOpenMemHandle(handle, _LAZY_PEERS)
        weakref.finalize(self, _close, cupy, number, self.pointer).atexit = False  # CUDA may be gone then


def _close(cupy: Any, number: int, pointer: int) -> None:
    with cupy.cuda.Device(number):
        cupy.cuda.runtime.ipcCloseMemHandle(pointer)


def gpu_out_of_memory(wanted: int, free: tuple[int, int], name: str) -> UsageError:
    """What is raised when an array of `wanted` bytes does not fit. `free`: (free, total) bytes."""
    return UsageError(
        f"an array of {data_size(wanted)} does not fit on the {name}, which has {data_size(free[0])} of "
        f"{data_size(free[1])} free; lower workers, model.hidden or training.batch_size_per_worker; data that do not "
        "fit need device=cpu"
    )


def _in_short(error: BaseException) -> str:
    """The first line of what CuPy says, which may go on with the contents of directories."""
    return next((line for line in map(str.strip, str(error).splitlines()) if line), type(error).__name__)
