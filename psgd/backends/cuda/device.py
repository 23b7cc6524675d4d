"""The protocol of a device, and arrays in its memory, which the host cannot read by mistake."""

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, NamedTuple, NoReturn, Protocol, final

import numpy as np


@final
class DeviceArray:
    """An address in the device's memory, with a shape and a dtype. Every use as an array of numpy raises TypeError."""

    __slots__ = ("dtype", "owner", "pointer", "shape")
    __array_ufunc__ = None
    __hash__ = object.__hash__

    def __init__(self, pointer: int, shape: tuple[int, ...], dtype: np.dtype, owner: Any) -> None:
        """`owner`: what keeps the memory alive."""
        self.pointer, self.shape, self.dtype, self.owner = pointer, shape, np.dtype(dtype), owner

    @property
    def size(self) -> int:
        return int(np.prod(self.shape, dtype=np.int64))

    @property
    def nbytes(self) -> int:
        return self.size * self.dtype.itemsize

    def at(self, start: int, shape: tuple[int, ...] = (1,)) -> "DeviceArray":
        """The elements from number `start` on, C-contiguous, in this shape."""
        return DeviceArray(self.pointer + start * self.dtype.itemsize, shape, self.dtype, self.owner)

    def cast(self, byte: int, shape: tuple[int, ...], dtype: np.dtype) -> "DeviceArray":
        """The memory from number `byte` on as an array of another dtype."""
        return DeviceArray(self.pointer + byte, shape, dtype, self.owner)

    def _refuse(self, *arguments: object, **options: object) -> NoReturn:
        raise TypeError("an array in a device's memory was used as one of the host: download it first")

    __array__ = __array_function__ = __len__ = __bool__ = __iter__ = __float__ = __int__ = _refuse
    __getitem__ = __setitem__ = __add__ = __radd__ = __mul__ = __rmul__ = __sub__ = __rsub__ = _refuse
    __eq__ = __ne__ = __lt__ = __gt__ = _refuse


class Matrix(NamedTuple):
    """A row-major matrix for each worker, inside an array."""

    array: DeviceArray
    leading_dimension: int  # elements from row to row
    stride: int = 0  # elements from worker to worker; 0: all share one matrix
    transposed: bool = False


class Product(NamedTuple):
    """c (m, n) <- alpha a (m, k) b (k, n) + beta c, for each worker: their matrices lie `stride` apart."""

    m: int
    n: int
    k: int
    alpha: DeviceArray  # one element
    a: Matrix
    b: Matrix
    beta: DeviceArray  # one element; where it is 0, c is not read
    c: Matrix
    workers: int
    tf32: bool = False  # whether what is multiplied may be rounded to TF32


@final
@dataclass(frozen=True)
class Program:
    """Kernels in CUDA C, and what they are compiled with."""

    text: str
    defines: tuple[str, ...]  # NAME=VALUE
    signatures: Mapping[str, tuple[str, ...]]  # kernel: the C types of its parameters

    def __hash__(self) -> int:
        return hash((self.text, self.defines))


class Device(Protocol):
    """Work is queued and done in order, but for what is on the `side_stream`; only `synchronize` waits for it."""

    name: str
    capability: tuple[int, int]
    processors: int  # streaming multiprocessors
    shared_bytes: int  # of a block, at most

    def empty(self, shape: tuple[int, ...], dtype: np.dtype) -> DeviceArray:
        """Allocate; the contents are undefined. UsageError with sizes if there is not enough memory."""
        ...

    def staging(self, shape: tuple[int, ...], dtype: np.dtype) -> np.ndarray:
        """Allocate memory of the host from and to which copies are fast."""
        ...

    def upload(self, host: np.ndarray, to: DeviceArray) -> None:
        """Queue a copy of a C-contiguous array of the same dtype and size, untouched until `synchronize`."""
        ...

    def download(self, source: DeviceArray, host: np.ndarray) -> None:
        """Queue a copy to a C-contiguous array of the same dtype and size, not to be read before `synchronize`."""
        ...

    def launch(
        self,
        program: Program,
        kernel: str,
        grid: tuple[int, ...],
        block: tuple[int, ...],
        *arguments: Any,
        shared: int = 0,
    ) -> None:
        """Queue a kernel. `arguments`: device arrays and numbers, converted to the kernel's types (programs.bind);
        `shared`: bytes of dynamic shared memory of a block."""
        ...

    def gemm(self, product: Product) -> None: ...

    def side_stream(self) -> AbstractContextManager[None]:
        """Queue launches and products within so that what is queued later, until `join`, need not wait for them. They
        follow all that was queued before."""
        ...

    def join(self) -> None:
        """End what is on the side stream: all that is queued later follows it."""
        ...

    def capture(self, queue: Callable[[], None]) -> Callable[[], None]:
        """Record the launches and products that `queue` asks for, and return what asks for all of them again. No copy
        and no allocation may be among them."""
        ...

    def synchronize(self) -> None: ...

    def export(self, array: DeviceArray) -> bytes:
        """Return a handle of the allocation that `array` begins. With it, any thread or process of this host can
        `open_exported` the memory, on this GPU or another one. All handles have the same number of bytes."""
        ...

    def open_exported(self, exported: bytes, size: int) -> DeviceArray:
        """Return the `size` bytes that another thread or process exported. They stay reachable as long as the array
        or a part of it is kept."""
        ...

    def free_bytes(self) -> tuple[int, int]:
        """(free, total) memory."""
        ...
