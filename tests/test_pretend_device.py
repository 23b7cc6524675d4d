"""Arrays that the host cannot read by mistake, arguments of the right types, the pretended device, cuBLAS by ctypes."""

import operator
import subprocess
import sys

import numpy as np
import pytest
from pretend import emulate
from pretend.device import Memory, Pretend, fake_cublas
from pretend.marks import needs_compiler
from processes import environment

from psgd.backends.cuda import programs
from psgd.backends.cuda.buffers import EXPORT_BYTES
from psgd.backends.cuda.cublas import Cublas
from psgd.backends.cuda.device import DeviceArray, Matrix, Product

F4, F8, I4 = np.dtype(np.float32), np.dtype(np.float64), np.dtype(np.int32)
TEXT = """
#ifndef CUDA_ON_CPU
#define KERNEL extern "C" __global__ void
#define SHARED(type, name) extern __shared__ __align__(16) char memory_[]; type* name = (type*)memory_
#endif
KERNEL scale(REAL* x, REAL by, int n) {
  int i = blockIdx.x * blockDim.x + threadIdx.x;
  if (i < n) x[i] = x[i] * by;
}
KERNEL reversed(REAL* x, int n) {
  SHARED(REAL, s);
  if (threadIdx.x < n) s[threadIdx.x] = x[threadIdx.x];
  __syncthreads();
  if (threadIdx.x < n) x[threadIdx.x] = s[n - 1 - threadIdx.x];
}
"""


@pytest.fixture(scope="module")
def program():
    common = programs.make_program((), F4, F4).text
    return programs.parse(common + TEXT.split("#endif")[1], {"REAL": "float", "INPUT": "float"})


# Arrays


@pytest.mark.parametrize(
    "use",
    [
        np.asarray, np.sum, np.exp, len, bool, float, int, iter, list, sum, operator.itemgetter(0),
        lambda x: x + 1, lambda x: 1 * x, lambda x: np.ones(2) - x, lambda x: x == x, lambda x: x < 1,
        lambda x: np.add(np.ones(2), x), lambda x: np.concatenate([x, x]), lambda x: x.__setitem__(0, 1),
    ],
)  # fmt: skip
def test_an_array_of_a_device_is_none_of_numpy(use):
    with pytest.raises(TypeError):
        use(DeviceArray(64, (2,), F4, None))


def test_views_of_arrays():
    array = DeviceArray(1024, (3, 4), F8, "owner")
    assert (array.size, array.nbytes) == (12, 96)
    part, other = array.at(4, (2, 4)), array.cast(16, (5,), I4)
    assert (part.pointer, part.shape, part.dtype, part.owner) == (1024 + 32, (2, 4), F8, "owner")
    assert (other.pointer, other.nbytes) == (1040, 20)


def test_arguments_become_what_the_kernel_takes(program):
    x = DeviceArray(64, (5,), F4, None)
    bound = programs.bind(program, "scale", [x, 2, 5])
    assert bound[0] is x
    assert [type(each) for each in bound[1:]] == [np.float32, np.int32]
    assert programs.bind(program, "scale", [None, 0.5, 5])[0] == 0
    for wrong in ([np.ones(5, F4), 2, 5], [DeviceArray(64, (5,), F8, None), 2, 5], [x, 2, 5.0], [x, 2], [x, "2", 5]):
        with pytest.raises(TypeError):
            programs.bind(program, "scale", wrong)
    with pytest.raises(OverflowError):
        programs.bind(program, "scale", [x, 2, 2**31])
    with pytest.raises(TypeError, match="no kernel nothing"):
        programs.bind(program, "nothing", [])


def test_an_argument_that_is_taken_is_not_described(program, monkeypatch):
    """The name of a dtype takes longer than a launch, of which a round of gradient averaging has seven."""
    monkeypatch.delattr(programs, "_described")
    assert len(programs.bind(program, "scale", [DeviceArray(64, (5,), F4, None), 2, 5])) == 3


# The pretended device


@needs_compiler
def test_nothing_happens_before_synchronize(program):
    device = Pretend()
    array, host, back = device.empty((5,), F4), np.arange(5, dtype=F4), np.zeros(5, F4)
    device.upload(host, array)
    device.launch(program, "scale", (1,), (8,), array, 3, 5)
    device.download(array, back)
    assert np.isnan(back).all()  # poison
    device.synchronize()
    assert (back == 3 * host).all()
    assert (device.launches, device.uploads, device.downloads, device.synchronizes) == (1, 1, 1, 1)


@needs_compiler
def test_what_a_gpu_would_not_forgive_is_found(program):
    device = Pretend()
    array, host = device.empty((5,), F4), np.arange(5, dtype=F4)
    device.upload(host, array)
    host[0] = 7
    with pytest.raises(AssertionError, match="changed between its upload and synchronize"):
        device.synchronize()
    device.upload(host, array)
    del host
    with pytest.raises(AssertionError, match="freed between its upload and synchronize"):
        device.synchronize()
    device.launch(program, "scale", (1,), (8,), array, 3, 8)  # past its end
    with pytest.raises(AssertionError):
        device.synchronize()
    with pytest.raises(RuntimeError, match="while a graph is captured"):
        device.capture(device.synchronize)
    with pytest.raises(AssertionError, match="shared memory"):
        device.launch(program, "reversed", (1,), (8,), array, 5, shared=1 << 30)


@needs_compiler
def test_a_graph_is_done_each_time_that_it_is_asked_for(program):
    device = Pretend()
    array, host = device.empty((5,), F4), np.ones(5, F4)
    device.upload(host, array)
    device.launch(program, "scale", (1,), (8,), array, 1, 5)
    replay = device.capture(lambda: device.launch(program, "scale", (1,), (8,), array, 2, 5))
    device.synchronize()
    for _ in range(3):
        replay()
    device.download(array, host)
    device.synchronize()
    assert (host == 8).all()


@needs_compiler
def test_shared_memory_and_barriers(program):
    array = np.arange(40, dtype=F4)
    for order in (0, 1, 5):
        x = array.copy()
        bound = programs.bind(program, "reversed", [DeviceArray(x.ctypes.data, (40,), F4, x), 40])
        emulate.emulated(program).launch("reversed", (1,), (64,), bound, 160, order)
        assert (x == array[::-1]).all()


OTHER = """
import sys, time
import numpy as np
from pretend.device import Pretend
device = Pretend()
there = device.open_exported(bytes.fromhex(sys.argv[1]), {size}).cast(0, ({count},), np.dtype(np.float32))
found = np.empty({count}, np.float32)
device.download(there, found)
device.synchronize()
more = found[:3] + 1
device.upload(more, there.at(0, (3,)))
device.synchronize()
print(found[:3].tolist(), flush=True)
time.sleep(600 if len(sys.argv) > 2 else 0)
"""


@needs_compiler
@pytest.mark.parametrize("dies", [False, True])
def test_memory_is_reached_from_another_process_and_outlives_it(dies):
    device, count = Pretend(), EXPORT_BYTES // 4
    array, host = device.empty((count,), F4), np.arange(count, dtype=F4)
    device.upload(host, array)
    device.synchronize()
    program = OTHER.format(size=EXPORT_BYTES, count=count)
    command = [sys.executable, "-c", program, device.export(array).hex(), *["and waits"] * dies]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment()) as other:
        assert other.stdout.readline() == "[0.0, 1.0, 2.0]\n"
        if dies:
            other.kill()
    device.download(array, host)
    device.synchronize()
    assert host[:4].tolist() == [1, 2, 3, 3]


@needs_compiler
def test_memory_is_reached_from_another_device_of_the_process_and_only_whole():
    device, other = Pretend(), Pretend()
    array, small = device.empty((EXPORT_BYTES // 4,), F4), device.empty((5,), F4)
    assert other.open_exported(device.export(array), EXPORT_BYTES).pointer == array.pointer
    for wrong in small, array.at(1):
        with pytest.raises(AssertionError, match="exported"):
            device.export(wrong)


# cuBLAS


@needs_compiler
@pytest.mark.parametrize("dtype", [F4, F8], ids=["float32", "float64"])
@pytest.mark.parametrize("turns", [(False, False), (True, False), (False, True), (True, True)])
@pytest.mark.parametrize("count", [1, 3])
def test_products_are_those_of_numpy(dtype, turns, count):
    m, n, k, draw, device = 4, 3, 5, np.random.default_rng(0), Pretend()
    A, B = draw.normal(size=(count, m, k)).astype(dtype), draw.normal(size=(count, k, n)).astype(dtype)
    given = [np.ascontiguousarray(x.swapaxes(1, 2)) if turn else x for x, turn in zip((A, B), turns, strict=True)]
    C, lines = draw.normal(size=(count, m, n + 2)).astype(dtype), []  # two columns that stay
    for host, turn in zip((*given, C), (*turns, False), strict=True):
        array = device.empty(host.shape, dtype)
        device.upload(host, array)
        lines.append(Matrix(array, host.shape[2], host.shape[1] * host.shape[2], turn))
    scalars, alpha_beta = device.empty((2,), dtype), np.array([-0.5, 2.0], dtype)
    device.upload(alpha_beta, scalars)
    device.gemm(Product(m, n, k, scalars.at(0), *lines[:2], scalars.at(1), lines[2], count))
    found = np.empty_like(C)
    device.download(lines[2].array, found)
    device.synchronize()
    np.testing.assert_allclose(found[:, :, :n], 2 * C[:, :, :n] - 0.5 * (A @ B), rtol=1e-5 if dtype == F4 else 1e-13)
    assert (found[:, :, n:] == C[:, :, n:]).all()


@needs_compiler
def test_cublas_is_told_everything_before_a_product():
    one = Memory(4)
    handle = Cublas(str(fake_cublas()), 1, one.pointer, 4)
    array = DeviceArray(one.pointer, (1,), F4, one)
    handle.gemm(Product(1, 1, 1, array, Matrix(array, 1), Matrix(array, 1), array, Matrix(array, 1), 1))
    with pytest.raises(TypeError, match="one dtype"):
        handle.gemm(
            Product(1, 1, 1, array, Matrix(array, 1), Matrix(array.cast(0, (1,), F8), 1), array, Matrix(array, 1), 1)
        )
    with pytest.raises(RuntimeError, match="cublasGemmEx: cuBLAS status 7"):
        handle.gemm(Product(1, 1, 0, array, Matrix(array, 1), Matrix(array, 1), array, Matrix(array, 1), 1))
