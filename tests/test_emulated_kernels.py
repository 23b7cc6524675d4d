"""The means by which kernels and products are tested without a GPU find what they are there to find."""

import ctypes
import re
import subprocess
import sys
import sysconfig
from pathlib import Path

import numpy as np
import pytest
from pretend import emulate
from pretend.device import Memory, Pretend, fake_cublas
from pretend.marks import needs_compiler
from processes import LIMIT, ROOT

from psgd.backends.cuda import cublas, programs
from psgd.backends.cuda.device import DeviceArray, Matrix, Product

F4 = np.dtype(np.float32)
TEXT = """
#define KERNEL extern "C" __global__ void
__device__ inline float warp_sum(float x) {
  for (int m = 16; m; m /= 2) x += __shfl_xor_sync(~0u, x, m);
  return x;
}
KERNEL doubled(float* x, int n) {
  for (int i = blockIdx.x * blockDim.x + threadIdx.x; i < n; i += gridDim.x * blockDim.x) x[i] *= 2;
}
KERNEL sums(const float* x, float* out) {
  const float sum = warp_sum(x[threadIdx.x]);
  out[threadIdx.x] = sum - warp_sum(1.0f);
}
KERNEL without_barrier(const float* x, float* out) {
  SHARED(float, s);
  s[threadIdx.x] = x[threadIdx.x];
  out[threadIdx.x] = s[blockDim.x - 1 - threadIdx.x];
}
KERNEL half_waits(float* x) {
  if (threadIdx.x < 16) __syncthreads();
  x[threadIdx.x] = 1;
}
KERNEL __cluster_dims__(BLOCKS, 1, 1) __launch_bounds__(32, 1) neighbours(float* out) {
  SHARED(float, s);
  if (threadIdx.x == 0) s[0] = blockIdx.x;
  cluster_sync();
  if (threadIdx.x == 0) out[blockIdx.x] = *cluster_map(s, (cluster_rank() + 1) % BLOCKS);
  cluster_sync();
}
"""
SANITIZED = """
import sys
import numpy as np
sys.path[:0] = {paths!r}
from pretend.emulate import Emulated
from psgd.backends.cuda import programs
from psgd.backends.cuda.device import DeviceArray
program = programs.parse({text!r}, {{"BLOCKS": 2}})
x = np.ones(100, np.float32)
array = DeviceArray(x.ctypes.data, (100,), x.dtype, x)
bound = programs.bind(program, "doubled", [array, int(sys.argv[1])])
Emulated(program, sanitize=True).launch("doubled", (2,), (32,), bound)
print("finished", x.sum())
"""


@pytest.fixture(scope="module")
def program():
    return programs.parse(TEXT, {"BLOCKS": 2})


def launched(program, kernel, given, size, block=64, order=0, grid=1):
    out = np.full(size, np.nan, F4)
    arrays = [DeviceArray(x.ctypes.data, x.shape, x.dtype, x) for x in (*given, out)]
    emulate.emulated(program).launch(kernel, (grid,), (block,), programs.bind(program, kernel, arrays), 1024, order)
    return out


def test_kernels_whose_threads_never_meet_need_no_fibers():
    assert emulate.threads_meet(TEXT) >= {"sums", "warp_sum", "without_barrier", "half_waits", "neighbours"}
    assert "doubled" not in emulate.threads_meet(TEXT)
    with pytest.raises(ValueError, match=r"only had by SHARED"):
        emulate.translated(programs.parse("KERNEL f(int* x) {\n  __shared__ int s[4];\n}", {}))


@needs_compiler
@pytest.mark.parametrize("order", [0, 1, 5])
def test_shuffles_clusters_and_a_missing_barrier(program, order):
    x = np.arange(64, dtype=F4)
    want = np.repeat(x.reshape(2, 32).sum(axis=1) - 32, 32)
    assert (launched(program, "sums", [x], 64, order=order) == want).all()
    assert launched(program, "neighbours", [], 4, block=32, order=order, grid=4).tolist() == [1, 0, 3, 2]
    assert (launched(program, "without_barrier", [x], 64, order=order) != x[::-1]).any()  # it read before others wrote


@needs_compiler
def test_threads_that_wait_for_ever_are_named(program):
    with pytest.raises(RuntimeError, match="half_waits: 16 of 64 threads wait at a barrier"):
        launched(program, "half_waits", [], 64)
    assert (launched(program, "half_waits", [], 16, block=16) == 1).all()  # and the next launch is whole
    with pytest.raises(RuntimeError, match="no multiple of the cluster"):
        launched(program, "neighbours", [], 3, block=32, grid=3)


@needs_compiler
def test_an_overrun_is_named():
    library = subprocess.run([emulate.COMPILER, "-print-file-name=libasan.so"], capture_output=True, text=True).stdout
    if not Path(library.strip()).is_absolute():
        pytest.skip("no libasan here, which names what a kernel overruns")
    code = SANITIZED.format(paths=[str(ROOT), str(ROOT / "tests")], text=TEXT)
    environment = {"LD_PRELOAD": library.strip(), "ASAN_OPTIONS": "detect_leaks=0", "PATH": "/usr/bin:/bin"}
    for count, words in ((100, "finished 200.0"), (101, "heap-buffer-overflow")):
        command = [sys.executable, "-c", code, str(count)]
        done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=LIMIT)
        assert words in done.stdout + done.stderr


@needs_compiler
def test_guards_around_memory_and_room(program):
    device = Pretend(memory=1000)
    array = device.empty((100,), F4)
    device.launch(program, "doubled", (1,), (32,), array, 101)
    with pytest.raises(AssertionError, match="written behind an array of 400 bytes"):
        device.synchronize()
    assert device.free_bytes() == (600, 1000)
    del array
    assert device.free_bytes() == (1000, 1000)


# cuBLAS


def headers() -> list[Path]:
    """Directories with NVIDIA's cublas_v2.h and what that includes."""
    packages = Path(sysconfig.get_path("purelib")) / "nvidia"
    found = [*packages.glob("*/include"), *Path("/usr/local").glob("cuda*/include")]
    return [each for each in found if (each / "cublas_v2.h").exists() and any(each.rglob("nv/target"))]


@needs_compiler
def test_the_fake_has_the_prototypes_of_nvidias_header():
    if not headers():
        wheels = "nvidia-cublas nvidia-cuda-runtime nvidia-cuda-crt nvidia-cuda-cccl"
        pytest.skip(f"no cublas_v2.h here: pip install {wheels}")
    for include in headers():
        assert fake_cublas("-DHEADER", "-I", str(include), "-I", str(include / "cccl")).exists()


def test_ctypes_passes_what_the_fake_takes():
    text = (emulate.HERE / "fake_cublas.cpp").read_text()
    types = {"int": ctypes.c_int, "size_t": ctypes.c_size_t, "long long": ctypes.c_longlong}
    names = set()
    for name, parameters in re.findall(r"^API\((\w+)\)\(([^)]*)\)", text, re.MULTILINE):
        if name == "name":
            continue
        names.add(name)
        given = cublas._PROTOTYPES[name]
        for parameter, passed in zip(parameters.split(","), given, strict=True):
            kind = re.sub(r"\b(const|[A-Za-z]+_?)$", "", parameter.replace("const ", "").strip()).strip() or "int"
            kind = kind.split(" ")[0] if not kind.startswith("long") else "long long"
            address = "*" in parameter or kind in ("cublasHandle_t", "cudaStream_t")
            assert (ctypes.sizeof(passed), address) == (
                ctypes.sizeof(types.get(kind, ctypes.c_int)) if not address else 8,
                passed in (ctypes.c_void_p, ctypes.POINTER(ctypes.c_void_p)),
            ), f"{name}: {parameter}"
    assert names == set(cublas._PROTOTYPES)


@needs_compiler
def test_the_fake_refuses_what_psgd_must_not_do():
    library, memory, handle = ctypes.CDLL(str(fake_cublas())), Memory(512), ctypes.c_void_p()
    library.cublasCreate_v2(ctypes.byref(handle))
    place, size = ctypes.c_void_p(memory.pointer), ctypes.c_size_t(256)

    def product():
        shape = (handle, 0, 0, 1, 1, 1, place)
        return library.cublasGemmEx(*shape, place, 0, 1, place, 0, 1, place, place, 0, 1, 68, -1)

    assert library.cublasSetWorkspace_v2(handle, place, size) == 7  # before the stream, which would forget it
    assert library.cublasSetStream_v2(handle, ctypes.c_void_p(1)) == 0
    assert library.cublasSetPointerMode_v2(handle, 1) == 0
    assert product() == 7  # no workspace
    assert library.cublasSetWorkspace_v2(handle, place, size) == 0
    assert product() == 0
    assert library.cublasSetPointerMode_v2(handle, 0) == 0
    assert product() == 7  # alpha would be read from the host
    assert library.cublasSetPointerMode_v2(handle, 1) == 0
    assert library.cublasSetStream_v2(handle, ctypes.c_void_p(1)) == 0
    assert product() == 7  # the stream forgot the workspace


@needs_compiler
def test_tf32_keeps_eleven_bits():
    device, host = Pretend(), np.array([1 + 2**-10, 1 + 2**-12, 1, 0, 0, 0], F4)
    array = device.empty((6,), F4)
    device.upload(host, array)
    for place, factor, tf32 in ((3, 0, True), (4, 1, True), (5, 1, False)):
        left, one, out = Matrix(array.at(factor), 1), Matrix(array.at(2), 1), Matrix(array.at(place), 1)
        device.gemm(Product(1, 1, 1, array.at(2), left, one, array.at(place), out, 1, tf32=tf32))
    device.download(array, host)
    device.synchronize()
    assert host[3:].tolist() == [1 + 2**-10, 1, 1 + 2**-12]
