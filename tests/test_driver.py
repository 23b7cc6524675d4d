"""What NVIDIA's driver says, by a library that stands for it."""

import ctypes

import pytest
from pretend import emulate
from pretend.marks import needs_compiler

from psgd.backends.cuda import driver

LIBRARY = """
extern "C" __attribute__((visibility("default"))) int cuInit(unsigned flags) { return flags ? 1 : INIT; }
extern "C" __attribute__((visibility("default"))) int cuDriverGetVersion(int* version) { *version = 12040; return 0; }
extern "C" __attribute__((visibility("default"))) int cuDeviceGetCount(int* count) { *count = COUNT; return 0; }
"""


@needs_compiler
@pytest.mark.parametrize("visible", [None, ""])
@pytest.mark.parametrize(
    ("status", "gpus", "version"), [(0, 3, (12, 4)), (0, 0, None), (100, 3, None)], ids=["three", "none", "no device"]
)
def test_what_the_driver_says(monkeypatch, status, gpus, version, visible):
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    reason = "NVIDIA's driver finds no GPU here (nvidia-smi says more)"
    if visible is not None:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
        reason = 'no GPU is visible: CUDA_VISIBLE_DEVICES is ""'
    library = emulate.build(LIBRARY.replace("INIT", str(status)).replace("COUNT", str(gpus)), options=("-O0",))
    load = ctypes.CDLL
    monkeypatch.setattr(ctypes, "CDLL", lambda name: load(str(library)) if name == "libcuda.so.1" else load(name))
    driver._ask.cache_clear()
    try:
        assert driver.driver() == version
        assert driver.gpu_count() == (gpus if version else 0)
        assert driver.why_none() == ("" if version else reason)
    finally:
        driver._ask.cache_clear()


def test_without_a_driver_there_are_no_gpus(monkeypatch):
    def refuse(name):
        raise OSError(name)

    monkeypatch.setattr(ctypes, "CDLL", refuse)
    driver._ask.cache_clear()
    try:
        assert (driver.driver(), driver.gpu_count()) == (None, 0)
        assert driver.why_none() == "there is no GPU here (libcuda.so.1 cannot be loaded)"
    finally:
        driver._ask.cache_clear()
