"""Stages of gpu_check on the device itself: what it is, its products, and graphs."""

import importlib
import os
import sys
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, version
from itertools import product
from typing import Any

import numpy as np
from gpu_check_stage import Record, opener
from gpu_training import FLOAT32, FLOAT64, ON_GPU, RULES, Counted, Training

from psgd.backends.cuda import programs
from psgd.backends.cuda.cuda_workers import UNROLL
from psgd.backends.cuda.device import Device, DeviceArray, Matrix, Product, Program

LIBRARIES = ("numpy", "cupy-cuda13x", "cupy-cuda12x", "cuda-pathfinder", "pydantic", "mpi4py", "torch", "jax")
REPLAYS = 1000
REGISTERS, LOCAL_BYTES = 4, 3  # CU_FUNC_ATTRIBUTE_NUM_REGS and _LOCAL_SIZE_BYTES
GIB = 1 << 30


def device(record: Record) -> None:
    """What there is, and whether all kernels can be compiled for it."""
    record.figure("Python", sys.version.split()[0])
    for name in LIBRARIES:  # not imported: some take half a minute where they were never read from the disk
        with suppress(PackageNotFoundError):
            record.figure(name, version(name))
    emulated = [name for name in os.environ if name.startswith("CUBLAS_EMULATE")]
    record.check("cuBLAS is not told to emulate float32", not emulated)
    gpu = opener(record.pretend)()
    record.figure("device", f"{gpu.name}, compute capability {gpu.capability[0]}.{gpu.capability[1]}")
    record.figure("multiprocessors, shared memory of a block", f"{gpu.processors}, {gpu.shared_bytes >> 10} KiB")
    free, total = gpu.free_bytes()
    record.figure("memory free", f"{free / GIB:.1f} of {total / GIB:.1f} GiB")
    if not record.pretend:
        cupy = importlib.import_module("cupy")
        versions = cupy.cuda.runtime.driverGetVersion(), cupy.cuda.runtime.runtimeGetVersion()
        record.figure("CUDA of the driver, of the runtime", f"{versions[0]}, {versions[1]}")
    kinds = [(FLOAT32, np.uint8), (FLOAT64, np.float64), (FLOAT32, np.float32), (FLOAT64, np.uint8)]
    for dtype, inputs in kinds[: 2 if record.pretend else None]:
        for files, defines in ((("exact", "network"), {}), (("tree",), {"WORKERS": 8})):
            program = programs.make_program(files, dtype, np.dtype(inputs), **defines)
            compiled(record, gpu, f"kernels of {' and '.join(files)}, {dtype} on {np.dtype(inputs)}", program)
    for name, rule in product("CDE", RULES if not record.pretend else ()):
        if plan := Training(ON_GPU[name], rule).fits(gpu, 1):
            compiled(record, gpu, f"network {name} whole, {rule}, {plan.cluster} blocks", plan.program)


def compiled(record: Record, gpu: Any, what: str, program: Program) -> None:
    """Every kernel, with its registers and the bytes that it spills."""
    record.at(what)
    if record.pretend:
        emulate = importlib.import_module("pretend.emulate")
        record.check(what, emulate.emulated(program) is not None, f"{len(program.signatures)} compiled")
        return
    driver = importlib.import_module("cupy").cuda.driver
    used = {}
    for name in program.signatures:
        function = gpu._kernel(program, name, 0).ptr
        used[name] = (driver.funcGetAttribute(REGISTERS, function), driver.funcGetAttribute(LOCAL_BYTES, function))
    spilling = [name for name, (_, spilled) in used.items() if spilled]
    most = max(used, key=lambda name: used[name][0])
    record.check(what, not spilling, f"at most {used[most][0]} registers ({most})", "no spills")
    if spilling:
        record.figure("spilling", ", ".join(f"{name} {used[name][1]} bytes" for name in spilling))


# Products


def gemm(record: Record) -> None:
    gpu = opener(record.pretend)()
    # A single row, column or term may take other kernels.
    shapes = [(5, 7, 9), (16, 1, 50), (16, 10, 785)]
    if not record.pretend:
        shapes = [(5, 7, 9), (150, 1, 16), (16, 1, 150), (1, 10, 17), (150, 15, 1), (100, 900, 1001), (785, 512, 1000)]
    for dtype, (m, n, k) in product((FLOAT32, FLOAT64), shapes):
        worst = {"c <- a b": 0.0, "c <- -0.5 a b + c": 0.0}
        for turns, count, shared in product(product((False, True), repeat=2), (1, 3), (False, True)):
            record.at(f"{dtype} {m} x {n} x {k}, transposed {turns}, {count} at once, one b for all: {shared}")
            worst["c <- a b"] = np.fmax(worst["c <- a b"], error(gpu, dtype, (m, n, k), turns, count, shared, 1, 0))
            far = error(gpu, dtype, (m, n, k), turns, count, shared, -0.5, 1)
            worst["c <- -0.5 a b + c"] = np.fmax(worst["c <- -0.5 a b + c"], far)
        for form, far in worst.items():
            record.within(f"{form}, {dtype} {m} x {n} x {k}", far, 1e-5 if dtype == FLOAT32 else 1e-13)
    far = error(gpu, FLOAT32, shapes[-1], (False, False), 1, False, 1, 0, tf32=True)
    record.within("with TF32 allowed", far, 2e-3)


def error(
    gpu: Device,
    dtype: np.dtype,
    shape: tuple[int, int, int],
    turns: tuple[bool, bool],
    count: int,
    shared: bool,
    alpha: float,
    beta: float,
    tf32: bool = False,
) -> float:
    """The distance of a product from float64's, as a share of its norm; inf if it wrote where it must not. With beta
    0, c is nan before, and must not be read."""
    m, n, k = shape
    draw = np.random.default_rng(0)
    a, b = (draw.normal(size=(count, *size)).astype(dtype) for size in ((m, k), (k, n)))
    if shared:
        b[:] = b[0]
    c = draw.normal(size=(count, m, n + 2)).astype(dtype)  # two columns that stay
    if not beta:
        c[:, :, :n] = np.nan
    given = [np.ascontiguousarray(x.swapaxes(1, 2)) if turn else x for x, turn in zip((a, b), turns, strict=True)]
    matrices = [matrix(gpu, each, turn) for each, turn in zip((*given, c), (*turns, False), strict=True)]
    if shared:
        matrices[1] = matrices[1]._replace(stride=0)
    scalars = put(gpu, np.array([alpha, beta], dtype))
    gpu.gemm(Product(m, n, k, scalars.at(0), *matrices[:2], scalars.at(1), matrices[2], count, tf32))
    found = np.empty_like(c)
    gpu.download(matrices[2].array, found)
    gpu.synchronize()
    if (found[:, :, n:] != c[:, :, n:]).any():
        return float("inf")
    wanted = alpha * (a.astype(np.float64) @ b.astype(np.float64))
    if beta:
        wanted += beta * c[:, :, :n]
    return float(np.linalg.norm(found[:, :, :n] - wanted) / np.linalg.norm(wanted))


def matrix(gpu: Device, host: np.ndarray, turned: bool) -> Matrix:
    return Matrix(put(gpu, host), host.shape[2], host.shape[1] * host.shape[2], turned)


def put(gpu: Device, host: np.ndarray) -> DeviceArray:
    """An element behind an aligned address, as the weights of a layer may lie."""
    array = gpu.empty((host.size + 1,), host.dtype).at(1, host.shape)
    gpu.upload(host, array)
    gpu.synchronize()
    return array


# Graphs


def capture(record: Record) -> None:
    """The smallest networks, whose steps are nothing but launches."""
    steps, replays = (19, 3) if record.pretend else (203, REPLAYS)
    for name, rule in (("E", "sgd"), ("E", "adam")) if record.pretend else (("D", "sgd"), ("B", "adam"), ("C", "adam")):
        training, open_device = Training(ON_GPU[name], rule), opener(record.pretend)
        what = f"network {name}, {rule}"
        rows = training.rows(steps, 2)
        uncaptured = Counted(open_device())
        uncaptured.__dict__["capture"] = lambda queue: queue
        record.at(f"{what}, not captured")
        plain = training.on(uncaptured, 2)
        plain_loss = plain.train(rows)
        record.at(f"{what}, captured")
        counted = Counted(open_device())
        graph = training.on(counted, 2)
        loss = graph.train(rows)
        same = graph.parameters().tobytes() == plain.parameters().tobytes() and loss.tobytes() == plain_loss.tobytes()
        record.check(f"{what}: a graph's bits are those of the same launches", same)

        before, free = dict(counted.counts), counted.free_bytes()[0]
        record.at(f"{what}: replays")
        many = UNROLL * replays  # steps
        few = min(graph.most, UNROLL * max(1, replays // 10))
        segments = -(-many // few)
        for _ in range(segments):
            graph.train(training.rows(few, 2))
        made = {key: counted.counts[key] - before[key] for key in ("upload", "download", "synchronize")}
        wanted = {"upload": 3 * segments, "download": segments, "synchronize": segments}
        record.check(f"{what}: a segment is three uploads, one download, one wait", made == wanted, str(made))
        grown = free - counted.free_bytes()[0]
        record.check(f"{what}: {segments * few // UNROLL} replays take no memory", grown <= 0, f"{grown} bytes", "<= 0")
        new = {key: counted.counts[key] - before[key] for key in ("empty", "capture")}
        record.check(f"{what}: nothing is allocated or captured again", not any(new.values()), str(new))
