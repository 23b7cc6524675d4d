"""safetensors files of arrays, on disk when the call returns."""

import os
from pathlib import Path

import numpy as np
from safetensors.numpy import save_file

_UMASK = os.umask(0)  # asked for by setting it, which threads must not do at the same time
os.umask(_UMASK)


def write_arrays(path: Path, arrays: dict[str, np.ndarray], metadata: dict[str, str] | None = None) -> None:
    """Write a safetensors file; equal arrays give equal bytes. OSError or SafetensorError if that fails."""
    save_file({name: np.ascontiguousarray(array) for name, array in arrays.items()}, path, metadata)
    os.chmod(path, 0o666 & ~_UMASK)  # safetensors makes files that their owner alone may read
    sync(path)


def sync(path: Path) -> None:
    """Wait until a file, or the names in a directory, are on disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
