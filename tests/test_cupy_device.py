"""What psgd asks of CuPy, on a module that stands for it."""

from functools import partial

import numpy as np
import pytest
from pretend.cupy import CUDARuntimeError, FakeCupy
from pretend.device import fake_cublas
from pretend.marks import needs_compiler
from pretend.trainings import Case, check
from test_pretend_device import F4, program

from psgd.backends.cuda import cublas, cupy_device
from psgd.backends.cuda.cuda_workers import CudaWorkers
from psgd.backends.cuda.device import Matrix, Product
from psgd.backends.device_workers import SegmentInputs
from psgd.core.errors import UsageError

__all__ = ["program"]


@pytest.fixture
def cupy(monkeypatch, tmp_path):
    fake = FakeCupy()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setitem(__import__("sys").modules, "cupy", fake)
    library = str(fake_cublas())
    monkeypatch.setattr(
        cupy_device, "Cublas", lambda name, *rest: name == "libcublas.so.13" and fake.cublas(library, *rest)
    )
    return fake


@needs_compiler
def test_work_through_cupy(cupy, program):
    device = cupy_device.open_device(1)
    assert (cupy.used, device.name, device.capability) == ([1], "NVIDIA Fake", (9, 0))
    assert (device.processors, device.shared_bytes) == (3, 227 << 10)
    array, host = device.empty((5,), F4), device.staging((5,), F4)
    host[:] = range(5)
    device.upload(host, array)
    device.launch(program, "scale", (1,), (8,), array, 1, 5)
    replay = device.capture(partial(device.launch, program, "scale", (1,), (8,), array, 2, 5))
    replay()
    replay()
    device.launch(program, "reversed", (1,), (8,), array, 5, shared=100 << 10)
    one = device.empty((1,), F4)
    device.upload(np.ones(1, F4), one)
    device.gemm(Product(1, 1, 1, one, Matrix(array, 1), Matrix(array, 1), one, Matrix(one, 1), 1))  # 16 x 16 + 1
    back, product = np.zeros(5, F4), np.zeros(1, F4)
    device.download(array, back)
    device.download(one, product)
    device.synchronize()
    assert back.tolist() == [16, 12, 8, 4, 0]
    assert product[0] == 257
    assert cupy.copies == [1, 1, 2, 2]
    assert device.free_bytes() == (3 << 30, 80 << 30)


@needs_compiler
def test_memory_of_the_same_process_is_reached_by_its_address(cupy):
    one, same, other = (cupy_device.open_device(number) for number in (0, 0, 1))
    array = one.empty((8,), F4)
    exported = one.export(array)
    assert len(exported) == len(other.export(other.empty((1,), F4)))
    for device, peers in (same, []), (other, [0]):
        there = device.open_exported(exported, 32)
        assert (there.pointer, there.shape, there.dtype) == (array.pointer, (32,), np.dtype(np.uint8))
        assert cupy.peers == peers
    cupy.refuses = 704  # it was enabled before
    other.open_exported(exported, 32)
    cupy.refuses = 217
    with pytest.raises(UsageError, match=r"GPU 1 cannot reach the memory of another .* error 217\); one process alone"):
        other.open_exported(exported, 32)
    assert cupy.opened == cupy.closed == []


@needs_compiler
def test_memory_of_another_process_is_opened_and_closed(cupy, monkeypatch):
    device = cupy_device.open_device(3)
    array = device.empty((8,), F4)
    exported = device.export(array)
    cupy.refuses = 801
    without = device.export(array)  # one process does not need it
    cupy.refuses = 0
    monkeypatch.setattr(cupy_device.os, "getpid", lambda: -1)
    there = device.open_exported(exported, 32)
    assert (there.pointer, there.nbytes, cupy.opened) == (array.pointer, 32, [(array.pointer, 1)])
    part = there.cast(4, (1,), F4)
    del there
    assert cupy.closed == []
    del part
    assert (cupy.closed, cupy.used[-1]) == ([array.pointer], 3)
    with pytest.raises(UsageError, match="GPU 3 cannot reach the memory of another process's GPU"):
        device.open_exported(without, 32)


@needs_compiler
def test_kernels_are_compiled_once(cupy, program, tmp_path):
    def launch():
        device = cupy_device.open_device(0)
        device.launch(program, "scale", (1,), (8,), device.empty((5,), F4), 2, 5)
        device.launch(program, "reversed", (1,), (8,), device.empty((5,), F4), 5, shared=64)
        return cupy.compiled

    assert [launch(), launch()] == [1, 1]
    (kept,) = (tmp_path / "psgd" / "kernels").iterdir()
    kept.write_bytes(kept.read_bytes()[:-1])  # damaged
    assert [launch(), launch()] == [2, 2]
    cupy.__version__ = "15"
    assert launch() == 3
    for each in kept.parent.iterdir():
        each.unlink()
    kept.parent.rmdir()
    kept.parent.write_text("no directory")
    assert [launch(), launch()] == [4, 5]


@needs_compiler
def test_a_capture_that_fails_is_ended(cupy):
    device = cupy_device.open_device(0)
    for invalid in (False, True):
        cupy.streams[0].invalid = invalid
        with pytest.raises(ZeroDivisionError):
            device.capture(lambda: 1 // 0)
        assert cupy.streams[0].capturing is None


@needs_compiler
@pytest.mark.parametrize("case", [Case(), Case(rule="adam", clip=0.2, l2=0.1), Case(rule=None, workers=1)], ids=str)
def test_all_that_a_capture_needs_was_used_before(cupy, case):
    """Kernels are loaded by the step before the capture, and nothing is allocated or copied in it."""
    check(case, device=cupy_device.open_device(0))


@needs_compiler
@pytest.mark.parametrize(
    "case", [Case(), Case(rule="adam", clip=0.2, l2=0.1), Case(rule="adam", averages=True), Case(whole=True)], ids=str
)
def test_nothing_is_loaded_while_it_trains(cupy, case, monkeypatch):
    """Kernels, those of cuBLAS too, are loaded when the workers are taken on."""
    hosting, loaded = CudaWorkers.host, []

    def host(self: CudaWorkers, workers: int) -> SegmentInputs:
        segment_inputs = hosting(self, workers)
        loaded.append(len(cupy.known))
        self.start([0], zero_moments=True)
        self.wait()
        return segment_inputs

    monkeypatch.setattr(CudaWorkers, "host", host)
    check(case, device=cupy_device.open_device(0))
    assert loaded == [len(cupy.known)]
    assert loaded[0] > 5


@needs_compiler
def test_a_capture_that_loads_a_kernel_is_found(cupy, program):
    device = cupy_device.open_device(0)
    array = device.empty((5,), F4)
    with pytest.raises(AssertionError, match="first to use"):
        device.capture(partial(device.launch, program, "scale", (1,), (8,), array, 2, 5))


@needs_compiler
def test_what_is_said_of_a_gpu_that_cannot_be_used(cupy, monkeypatch):
    device = cupy_device.open_device(0)
    cupy.fails = 2
    with pytest.raises(
        UsageError, match=r"4.29 GB does not fit on the NVIDIA Fake, which has 3.22 GB of 85.9 GB free; lower"
    ):
        device.empty((1 << 30,), F4)
    cupy.fails = 719
    with pytest.raises(CUDARuntimeError):
        device.empty((1,), F4)
    for status, words in (
        (35, "driver for CUDA 13: update it"),
        (100, "CUDA_VISIBLE_DEVICES"),
        (719, "cuda error 719"),
    ):
        monkeypatch.setattr(cupy.cuda, "Device", lambda number, status=status: _raise(CUDARuntimeError(status)))
        with pytest.raises(UsageError, match=rf"GPU 2 cannot be opened: .*{words}"):
            cupy_device.open_device(2)
    monkeypatch.setitem(__import__("sys").modules, "cupy", None)
    with pytest.raises(UsageError, match=r"CuPy cannot be imported .*pip install 'psgd\[gpu\]'"):
        cupy_device.open_device(0)


@pytest.mark.parametrize(
    ("module", "function", "error"),
    [("nvrtc", "getVersion", RuntimeError), ("device", "get_cublas_handle", ImportError)],  # as CuPy 14.2 raises them
)
def test_libraries_of_cuda_that_are_missing_are_named_in_one_line(cupy, monkeypatch, module, function, error):
    missing = error("\nFailure finding libsome.so.13\n  listdir(...)\n")
    monkeypatch.setattr(getattr(cupy.cuda, module), function, lambda: _raise(missing))
    with pytest.raises(
        UsageError,
        match=r"^GPU 0 cannot be opened: Failure finding libsome.so.13; .*pip install 'cupy-cuda13x\[ctk\]'$",
    ):
        cupy_device.open_device(0)


def test_of_a_cupy_that_cannot_be_imported_the_cause_is_said(monkeypatch, tmp_path):
    (tmp_path / "cupy.py").write_text(
        "try:\n    raise ImportError('libsome.so: no such file')\n"
        "except ImportError as error:\n    raise ImportError('=====\\nFailed to import CuPy') from error\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(__import__("sys").modules, "cupy", raising=False)
    with pytest.raises(UsageError, match=r"^CuPy cannot be imported \(libsome.so: no such file\): pip install"):
        cupy_device.open_device(0)


def _raise(error):
    raise error


@pytest.mark.parametrize(("status", "words"), [(3, "cuBLAS status 3, no memory is left$"), (1, "cuBLAS status 1$")])
def test_what_is_said_of_a_cublas_that_refuses(monkeypatch, status, words):
    class Refusing:
        def __getattr__(self, name):
            return lambda *arguments: status

    monkeypatch.setattr(cublas.ctypes, "CDLL", lambda library: Refusing())
    monkeypatch.setattr(cublas, "_PROTOTYPES", {})
    with pytest.raises(RuntimeError, match=f"cublasCreate_v2: {words}"):
        cublas.Cublas("libcublas.so", 0, 0, 0)
