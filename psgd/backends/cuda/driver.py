"""What NVIDIA's driver says, asked through ctypes: without CuPy, and at no cost where there is no driver."""

import ctypes
import os
from functools import cache
from typing import NamedTuple


def driver() -> tuple[int, int] | None:
    """The newest CUDA that the driver runs, as (major, minor); None if there is no driver, or no GPU that it can
    use."""
    return _ask().cuda


def gpu_count() -> int:
    """The number of GPUs that this process may use, with respect to CUDA_VISIBLE_DEVICES."""
    return _ask().gpus


def why_none() -> str:
    """Why there is no GPU, as a part of a sentence; empty if there is one."""
    return _ask().reason


class _Driver(NamedTuple):
    cuda: tuple[int, int] | None = None
    gpus: int = 0
    reason: str = ""


@cache
def _ask() -> _Driver:
    try:
        library = ctypes.CDLL("libcuda.so.1")
    except OSError:
        return _Driver(reason="there is no GPU here (libcuda.so.1 cannot be loaded)")
    version, count = ctypes.c_int(), ctypes.c_int()
    answers = library.cuInit(0) == 0 == library.cuDriverGetVersion(ctypes.byref(version))
    if not answers or library.cuDeviceGetCount(ctypes.byref(count)) or not count.value:
        visible = os.environ.get("CUDA_VISIBLE_DEVICES")
        if visible is None:
            return _Driver(reason="NVIDIA's driver finds no GPU here (nvidia-smi says more)")
        return _Driver(reason=f'no GPU is visible: CUDA_VISIBLE_DEVICES is "{visible}"')
    return _Driver((version.value // 1000, version.value % 1000 // 10), count.value)
