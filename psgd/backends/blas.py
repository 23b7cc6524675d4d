"""Limits BLAS to one thread a worker: products by 1 and by 2 threads have other bits, and idle cores run other workers.

Importing this module does not import numpy, which reads the environment when it is imported."""

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

VARIABLES = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "BLIS_NUM_THREADS")


_changing = threading.Lock()
_blocks: list[int] = []  # the threads that execute blocks of `one_blas_thread`, once for each block
_limits: list[Any] = []  # what restores the threads that each BLAS had before these blocks, the last first


def _forget_other_threads() -> None:
    """A process that is forked has only the thread that forked it: no other one releases the lock or leaves a block."""
    global _changing
    _changing = threading.Lock()
    _blocks[:] = [thread for thread in _blocks if thread == threading.get_ident()]
    if not _blocks:
        _limits.clear()


os.register_at_fork(after_in_child=_forget_other_threads)


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
        within = bool(_blocks)
        if within:  # this BLAS may have been loaded within the block
            _limits.append(limit)
    if within or not asked:
        return None
    settings = ", ".join(f"{name}={value}" for name, value in asked.items())
    return f"one BLAS thread a worker, although {settings}: other numbers give other bits; use more workers instead"


@contextmanager
def one_blas_thread() -> Iterator[list[dict[str, Any]]]:
    """Limit every BLAS to one thread during the block, those too that are loaded in it and limited by
    `limit_after_numpy`. Yields what `libraries` says before. The threads of a program may be in such blocks at the same
    time: the last one to leave restores the numbers that the first one found."""
    from threadpoolctl import ThreadpoolController

    with _changing:
        controller = ThreadpoolController()
        found = _sorted(controller.info())
        _limits.append(controller.limit(limits=1, user_api="blas"))
        _blocks.append(threading.get_ident())
    try:
        yield found
    finally:
        with _changing:
            _blocks.remove(threading.get_ident())
            while _limits and not _blocks:
                _limits.pop().restore_original_limits()


def several_threads(found: list[dict[str, Any]], caller: str) -> str | None:
    """A note for the user if BLAS, as `libraries` describes it, has several threads and `caller` limits it to one."""
    threads = max((info["num_threads"] for info in found), default=1)
    if threads == 1:
        return None
    name = found[0]["internal_api"]
    names = {"openblas": "OPENBLAS_NUM_THREADS", "mkl": "MKL_NUM_THREADS", "blis": "BLIS_NUM_THREADS"}
    return (
        f"psgd: {name} has {threads} threads and is limited to 1 during {caller}: a worker is one core, and other "
        f'numbers give other bits. Before importing numpy, set os.environ["{names.get(name, "OMP_NUM_THREADS")}"] = "1"'
    )


def libraries() -> list[dict[str, Any]]:
    """Return threadpoolctl's information on each loaded BLAS, numpy's before scipy's."""
    from threadpoolctl import threadpool_info

    return _sorted(threadpool_info())


def _sorted(infos: list[dict[str, Any]]) -> list[dict[str, Any]]:
    found = [info for info in infos if info["user_api"] == "blas"]
    return sorted(found, key=lambda info: "scipy" in info["filepath"].rsplit("/", 2)[-2])


def describe_blas() -> dict[str, Any]:
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
    asked, kernel = os.environ.get("OPENBLAS_CORETYPE"), str(describe_blas()["kernel"]).lower()
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
