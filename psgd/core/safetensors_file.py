"""safetensors files of arrays: written so that they are on disk when the call returns, read with nothing trusted."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, final

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import load_file, save_file

_DTYPES = {"F32": np.float32, "F64": np.float64, "I64": np.int64}  # the only ones that psgd writes
_UMASK = os.umask(0)  # asked for by setting it, which threads must not do at the same time
os.umask(_UMASK)


def write_arrays(path: Path, arrays: dict[str, np.ndarray], metadata: dict[str, str] | None = None) -> None:
    """Write a safetensors file; equal arrays give equal bytes. OSError or SafetensorError if that fails."""
    save_file({name: np.asarray(array, order="C") for name, array in arrays.items()}, path, metadata)
    os.chmod(path, 0o666 & ~_UMASK)  # safetensors makes files that their owner alone may read
    sync(path)


def read_arrays(path: Path) -> dict[str, np.ndarray]:
    """Read all arrays of a file. OSError if it cannot be read, ValueError if it is damaged."""
    _check_readable(path)
    try:
        return load_file(path)
    except SafetensorError as error:
        raise ValueError(f"not a safetensors file, or damaged: {error}") from None


@final
class StoredArrays:
    """The arrays of an open file, and its metadata. Nothing is allocated before a shape has been compared."""

    def __init__(self, file: Any) -> None:
        self._file = file
        self.names = frozenset(file.keys())
        self.metadata: dict[str, str] = file.metadata() or {}

    def read(self, name: str, shape: tuple[int, ...]) -> np.ndarray:
        """Read an array. ValueError if it is missing, has another shape, or a dtype that psgd does not write."""
        if name not in self.names:
            raise ValueError(f"the array {name} is missing")
        stored = self._file.get_slice(name)
        found, dtype = tuple(stored.get_shape()), stored.get_dtype()
        if found != shape:
            raise ValueError(f"the array {name} has shape {found}, where {shape} is needed")
        if dtype not in _DTYPES:
            raise ValueError(f"the array {name} holds {dtype}; expected {', '.join(_DTYPES)}")
        array: np.ndarray = self._file.get_tensor(name)
        return array


@contextmanager
def open_arrays(path: Path) -> Iterator[StoredArrays]:
    """Open a safetensors file. OSError if it cannot be read, ValueError (in the `with` block too) if it is damaged."""
    _check_readable(path)
    try:
        with safe_open(path, "numpy") as file:
            yield StoredArrays(file)
    except SafetensorError as error:
        raise ValueError(f"not a safetensors file, or damaged: {error}") from None


def _check_readable(path: Path) -> None:
    """OSError with the reason why a file cannot be opened. Whatever it is, safetensors would say that there is none."""
    open(path, "rb").close()


def sync(path: Path) -> None:
    """Wait until a file, or the names in a directory, are on disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
