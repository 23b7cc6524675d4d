"""One BLAS thread a worker: GEMM's bits differ between 1 and 2, and workers are what runs side by side.

Importing this module does not import numpy, which reads the environment when it is imported."""

import os
from typing import Any

VARIABLES = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "BLIS_NUM_THREADS")


def limit_before_numpy() -> None:
    """Ask for one thread where the user asked for nothing."""
    for name in VARIABLES:
        os.environ.setdefault(name, "1")


def limit_after_numpy() -> str | None:
    """Make sure of one thread; a note if that was not what the environment asked for."""
    from threadpoolctl import threadpool_limits

    asked = {v: os.environ[v] for v in VARIABLES if os.environ.get(v, "1") != "1"}
    threadpool_limits(1, user_api="blas")
    if not asked:
        return None
    said = ", ".join(f"{name}={value}" for name, value in asked.items())
    return f"one BLAS thread a worker, although {said}: other numbers give other bits; use more workers instead"


def libraries() -> list[dict[str, Any]]:
    """What threadpoolctl says of each BLAS that is loaded, numpy's before scipy's."""
    from threadpoolctl import threadpool_info

    found = [info for info in threadpool_info() if info["user_api"] == "blas"]
    return sorted(found, key=lambda info: "scipy" in info["filepath"].rsplit("/", 2)[-2])


def describe() -> dict[str, Any]:
    """numpy's BLAS: name, version, kernel, threads; scipy's version, if it is loaded. Equal bits need equal ones."""
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


# What a CPU must have for OpenBLAS's kernels, best first, as /proc/cpuinfo has it.
_KERNELS = [
    ("avx512bw", {"skylakex", "cooperlake", "sapphirerapids"}),
    ("avx2", {"haswell", "zen", "excavator"}),
    ("avx", {"sandybridge", "bulldozer", "piledriver", "steamroller"}),
]


def held_back() -> str | None:
    """A warning, if the environment holds OpenBLAS to a kernel below what this CPU offers. It may be meant so (for the
    bits of another machine), hence nothing is changed."""
    asked, kernel = os.environ.get("OPENBLAS_CORETYPE"), str(describe()["kernel"]).lower()
    if not asked:
        return None
    has = _cpu_flags()
    for flag, kernels in _KERNELS:
        if kernel in kernels:
            return None
        if flag in has:
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
