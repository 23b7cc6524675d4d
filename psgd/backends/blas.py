"""Limits BLAS to one thread a worker: products by 1 and by 2 threads have other bits, and idle cores run other workers.

Importing this module does not import numpy, which reads the environment when it is imported."""

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

VARIABLES = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "BLIS_NUM_THREADS")


_changing = threading.Lock()
_blocks = 0  # of `one_blas_thread`, that are being executed
_limits: list[Any] = []  # what restores the threads that each BLAS had before these blocks, the last first


def limit_before_numpy() -> None:
    """Set the environment variables that are unset to one thread, before numpy is imported."""
    for name in VARIABLES:
        os.environ.setdefault(name, "1")


def limit_after_numpy() -> str | None:
    """Limit every loaded BLAS to one thread, for good or until the end of a block of `one_blas_thread`. Return a note
    if the environment asks for more, unless the block has made it."""
    from threadpoolctl import threadpool_limits

    asked = {v: os.environ[v] for v in VARIABLES if os.environ.get(v, "1") != "1"}
    limit = threadpool_limits(1, user_api="blas")
    with _changing:
        within = _blocks > 0
        if within:  # this BLAS may have been loaded within the block
            _limits.append(limit)
    if within or not asked:
        return None
    settings = ", ".join(f"{name}={value}" for name, value in asked.items())
    return f"one BLAS thread a worker, although {settings}: other numbers give other bits; use more workers instead"


@contextmanager
def one_blas_thread(caller: str) -> Iterator[tuple[int | None, str | None]]:
    """Limit every loaded BLAS to one thread during a block, and give it back the threads that it had; where several
    threads are in such blocks, when the last leaves.

    Yields (that number, a note for the user if it was above one). `caller`: the function of psgd that needs it."""
    from threadpoolctl import threadpool_limits

    found = libraries()
    threads, note = max((info["num_threads"] for info in found), default=None), None
    if threads is not None and threads > 1:
        blas = found[0]["internal_api"]
        names = {"openblas": "OPENBLAS_NUM_THREADS", "mkl": "MKL_NUM_THREADS", "blis": "BLIS_NUM_THREADS"}
        note = (
            f"psgd: {blas} has {threads} threads and is limited to 1 during {caller}: a worker is one core, and other "
            "numbers give other bits. Before importing numpy, set "
            f'os.environ["{names.get(blas, "OMP_NUM_THREADS")}"] = "1"'
        )
    global _blocks
    with _changing:
        _blocks += 1
        _limits.append(threadpool_limits(1, user_api="blas"))
    try:
        yield threads, note
    finally:
        with _changing:
            _blocks -= 1
            while _limits and not _blocks:
                _limits.pop().restore_original_limits()


def libraries() -> list[dict[str, Any]]:
    """Return threadpoolctl's information on each loaded BLAS, numpy's before scipy's."""
    from threadpoolctl import threadpool_info

    found = [info for info in threadpool_info() if info["user_api"] == "blas"]
    return sorted(found, key=lambda info: "scipy" in info["filepath"].rsplit("/", 2)[-2])


def describe() -> dict[str, Any]:
    """Describe numpy's BLAS (name, version, kernel, threads) and scipy's (version). The bits depend on all of these."""
    found = libraries()
    if not found:
        return {"name": "unknown", "version": None, "kernel": None, "threads": None}
    first, *others = found
    about = {
        "name": first["internal_api"],
        "version": first["version"],
        "kernel": first.get("architecture"),
        "threads": first["num_threads"],
    }
    return {**about, "scipy_version": others[0]["version"]} if others else about


# The CPU flag in /proc/cpuinfo that OpenBLAS's kernels need, best first.
_KERNELS = [
    ("avx512bw", {"skylakex", "cooperlake", "sapphirerapids"}),
    ("avx2", {"haswell", "zen", "excavator"}),
    ("avx", {"sandybridge", "bulldozer", "piledriver", "steamroller"}),
]


def kernel_warning() -> str | None:
    """Return a warning if the environment limits OpenBLAS to a slower kernel than this CPU can run. The user may want
    that, for the bits of another machine."""
    asked, kernel = os.environ.get("OPENBLAS_CORETYPE"), str(describe()["kernel"]).lower()
    if not asked:
        return None
    flags = _cpu_flags()
    for flag, kernels in _KERNELS:
        if kernel in kernels:
            return None
        if flag in flags:
            return (
                f"OPENBLAS_CORETYPE={asked} in the environment holds OpenBLAS to its {kernel.capitalize()} kernel, but "
                f"this CPU has {flag.upper()}: products may take twice as long. Unset it, unless you want these bits"
            )
    return None


def _cpu_flags() -> set[str]:
    try:
        with open("/proc/cpuinfo") as file:
            return next(set(line.split()) for line in file if line.startswith("flags"))
    except (OSError, StopIteration):
        return set()
