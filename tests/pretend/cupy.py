"""What psgd calls of CuPy, on the memory of the host: kernels run by emulate.py, products by the fake cuBLAS. It knows
of CuPy what its sources say; only a GPU shows whether that is so."""

import ctypes
from types import SimpleNamespace
from typing import Any

import numpy as np

from psgd.backends.cuda import programs
from psgd.backends.cuda.cublas import Cublas
from psgd.backends.cuda.device import DeviceArray, Product, Program

from .device import Memory
from .emulate import emulated

TYPES = {np.dtype(each).type for each in "?bhilqBHILQefdFD"}  # what CuPy's function.pyx passes on as it is


class CUDARuntimeError(RuntimeError):
    def __init__(self, status: int) -> None:
        super().__init__(f"cuda error {status}")
        self.status = status


class Capture:
    def __init__(self, stream: "Stream") -> None:
        self.acts: list[Any] = []
        self.streams = [stream]
        self.unjoined: set[Stream] = set()  # those whose last work no other waited for


class Event:
    def __init__(self, disable_timing: bool = False) -> None:
        assert disable_timing, "slower, and nobody reads the time"
        self.recorded: Stream | None = None
        self.capture: Capture | None = None


class Stream:
    def __init__(self, ptr: int, non_blocking: bool = False) -> None:
        assert non_blocking, "a blocking stream cannot be captured beside the default stream"
        self.ptr = ptr
        self.capturing: Capture | None = None
        self.invalid = False  # whether the capture failed within

    def do(self, act: Any) -> None:
        if self.capturing is None:
            act()
        else:
            self.capturing.acts.append(act)
            self.capturing.unjoined.add(self)

    def record(self, event: Event) -> None:
        event.recorded, event.capture = self, self.capturing

    def wait_event(self, event: Event) -> None:
        assert event.recorded, "an event that was never recorded"
        assert self.capturing in (None, event.capture), "cudaErrorStreamCaptureIsolation"
        self.capturing = event.capture
        if event.capture:
            event.capture.streams.append(self)
            event.capture.unjoined -= {event.recorded}
            event.capture.unjoined |= {self}

    def begin_capture(self) -> None:
        assert self.capturing is None
        self.capturing = Capture(self)

    def end_capture(self) -> Any:
        capture = self.capturing
        assert capture
        for stream in capture.streams:
            stream.capturing = None
        if self.invalid:
            self.invalid = False
            raise CUDARuntimeError(901)  # cudaErrorStreamCaptureInvalidated
        if capture.unjoined - {self}:
            raise CUDARuntimeError(904)  # cudaErrorStreamCaptureUnjoined

        def launch(stream: "Stream") -> None:
            for act in capture.acts:
                stream.do(act)

        return SimpleNamespace(launch=launch, upload=lambda stream: None)

    def synchronize(self) -> None:
        assert self.capturing is None, "cudaErrorStreamCaptureUnsupported"


class FakeCupy:
    """The module."""

    def __init__(self) -> None:
        self.fails = 0  # the error of the next allocation
        self.used: list[int] = []  # numbers of the devices
        self.streams: list[Stream] = []
        self._workspaces: list[int] = []
        self.known: set[object] = set()  # what the device that was opened last has loaded
        self.copies: list[int] = []  # kinds
        self.compiled = 0  # programs
        self.peers: list[int] = []  # devices to which access was asked for
        self.refuses = 0  # the error of the next call of CUDA IPC, or for access to a peer
        self.opened: list[tuple[int, int]] = []  # address and flags
        self.closed: list[int] = []
        self.__version__ = "14.2.0"
        runtime = SimpleNamespace(
            CUDARuntimeError=CUDARuntimeError,
            getDeviceProperties=self._properties,
            memcpyAsync=self._copy,
            memGetInfo=lambda: (3 << 30, 80 << 30),
            runtimeGetVersion=lambda: 13020,
            ipcGetMemHandle=self._handle,
            ipcOpenMemHandle=self._open,
            ipcCloseMemHandle=self.closed.append,
            deviceEnablePeerAccess=self._enable,
        )
        self.cuda = SimpleNamespace(
            runtime=runtime,
            device=SimpleNamespace(get_cublas_handle=lambda: 1),
            Device=lambda number: Current(self.used, number),
            Stream=self._stream,
            Event=Event,
            Memory=self._memory,
            nvrtc=SimpleNamespace(getVersion=lambda: (13, 5)),
            compiler=SimpleNamespace(compile_using_nvrtc=self._compile),
            function=SimpleNamespace(Module=self._module),
            driver=SimpleNamespace(CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES=8, funcSetAttribute=self._attribute),
            alloc_pinned_memory=bytearray,
        )

    @property
    def _capturing(self) -> bool:
        return any(stream.capturing is not None for stream in self.streams)

    def once(self, what: object) -> None:
        """What the driver loads when it is first asked for, which it may not do in a capture."""
        assert not self._capturing or what in self.known, f"a capture must not be the first to use {what}"
        self.known.add(what)

    def cublas(self, library: str, pointer: int, workspace: int, size: int) -> Any:
        """psgd's Cublas on the library that stands for cuBLAS, which knows of no captures."""
        assert workspace not in self._workspaces, "products in two streams would write to the same memory"
        self._workspaces.append(workspace)
        (stream,) = (each for each in self.streams if each.ptr == pointer)
        inner = Cublas(library, pointer, workspace, size)

        def gemm(product: Product) -> None:
            m, n, k, _, a, b, _, _, count, _ = product
            self.once(f"the kernel of a product {m, n, k, a.transposed, b.transposed, count}")
            stream.do(lambda: inner.gemm(product))

        return SimpleNamespace(gemm=gemm)

    def _compile(self, text: str, options: tuple[str, ...], *, cache_in_memory: bool) -> tuple[bytes, None]:
        assert set(options) == {"-std=c++17", "--fmad=false", "-ftz=false"}
        self.compiled += 1
        return text.encode(), None

    def _module(self) -> Any:
        return Module(self)

    def _attribute(self, kernel: "Kernel", attribute: int, value: int) -> None:
        assert attribute == 8
        kernel.shared = value

    def _stream(self, non_blocking: bool = False) -> Stream:
        self.streams.append(Stream(0x57EA + len(self.streams), non_blocking))
        return self.streams[-1]

    def _memory(self, size: int) -> Any:
        if self.fails:
            raise CUDARuntimeError(self.fails)
        assert not self._capturing, "memory is allocated in a capture"
        memory = Memory(size)
        return SimpleNamespace(ptr=memory.pointer, size=size, owner=memory)

    def _properties(self, number: int) -> dict[str, Any]:
        self.known, self._workspaces = set(), []
        shared = {"sharedMemPerBlock": 48 << 10, "sharedMemPerBlockOptin": 227 << 10}
        return {"name": b"NVIDIA Fake", "major": 9, "minor": 0, "multiProcessorCount": 3, **shared}

    def _handle(self, pointer: int) -> bytes:
        self._refuse()
        return pointer.to_bytes(64)

    def _open(self, handle: bytes, flags: int) -> int:
        self._refuse()
        pointer = int.from_bytes(handle)
        if not pointer:
            raise CUDARuntimeError(1)
        self.opened.append((pointer, flags))
        return pointer

    def _enable(self, number: int) -> None:
        self.peers.append(number)
        self._refuse()

    def _refuse(self) -> None:
        if self.refuses:
            raise CUDARuntimeError(self.refuses)

    def _copy(self, to: int, source: int, size: int, kind: int, stream: int) -> None:
        assert stream in [each.ptr for each in self.streams]
        assert not self._capturing, "a copy in a capture: its source and size would be those of now for ever"
        self.copies.append(kind)
        ctypes.memmove(to, source, size)


class Current:
    """A device that is used from now on, or for a while."""

    def __init__(self, used: list[int], number: int) -> None:
        self._used, self._number = used, number

    def use(self) -> None:
        self._used.append(self._number)

    def __enter__(self) -> None:
        self.use()

    def __exit__(self, *failure: object) -> None: ...


class Module:
    def __init__(self, cupy: FakeCupy) -> None:
        self._cupy = cupy

    def load(self, compiled: bytes) -> None:
        self._cupy.once(compiled)
        lines = compiled.decode().splitlines()
        count = next(number for number, line in enumerate(lines) if "#define" not in line)
        defines = dict(line.split(" ", 2)[1:] for line in lines[:count])
        self._program = programs.parse("\n".join(lines[count:]), defines)

    def get_function(self, name: str) -> "Kernel":
        return Kernel(self._cupy, self._program, name)


class Kernel:
    def __init__(self, cupy: FakeCupy, program: Program, name: str) -> None:
        self._cupy, self._program, self._name = cupy, program, name
        self.ptr, self.shared = self, 48 << 10

    def __call__(
        self,
        grid: tuple[int, ...],
        block: tuple[int, ...],
        args: tuple[Any, ...],
        shared_mem: int = 0,
        stream: Stream | None = None,
    ) -> None:
        assert stream in self._cupy.streams
        assert shared_mem <= self.shared, "cudaErrorInvalidValue"
        assert all(type(each) in TYPES for each in args), "of another size than the kernel takes"
        self._cupy.once(f"the kernel {self._name}")
        types = self._program.signatures[self._name]
        bound = [
            DeviceArray(int(each), (1 << 40,), np.dtype(np.uint8), None) if kind.endswith("*") and int(each) else each
            for each, kind in zip(args, types, strict=True)
        ]
        stream.do(lambda: emulated(self._program).launch(self._name, grid, block, bound, shared_mem, 0))
