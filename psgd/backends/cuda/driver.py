"""What NVIDIA's driver says, asked through ctypes: without CuPy, and at no cost where there is no driver."""

import ctypes
from functools import cache


def driver() -> tuple[int, int] | None:
    """The newest CUDA that the driver runs, as (major, minor); None if there is no driver, or no GPU that it can
    use."""
    return _ask()[0]


def gpu_count() -> int:
    """The number of GPUs that this process may use, with respect to CUDA_VISIBLE_DEVICES."""
    return _ask()[1]


@cache
def _ask() -> tuple[tuple[int, int] | None, int]:
    try:
        library = ctypes.CDLL("libcuda.so.1")
    except OSError:
        return None, 0
    version, count = ctypes.c_int(), ctypes.c_int()
    if library.cuInit(0) or library.cuDriverGetVersion(ctypes.byref(version)):
        return None, 0
    if library.cuDeviceGetCount(ctypes.byref(count)) or not count.value:
        return None, 0
    return (version.value // 1000, version.value % 1000 // 10), count.value
