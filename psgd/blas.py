"""One BLAS thread a worker: GEMM's bits differ between 1 and 2, and workers are what runs side by side.

Imported before numpy is; it imports nothing that imports numpy.
"""

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


def describe() -> dict[str, Any]:
    """The BLAS that numpy uses: name, version, kernel, threads. Bits can be equal only where these are."""
    from threadpoolctl import threadpool_info

    found = [info for info in threadpool_info() if info["user_api"] == "blas"]
    if not found:
        return {"name": "unknown", "version": None, "kernel": None, "threads": None}
    info = found[0]
    return {
        "name": info["internal_api"],
        "version": info["version"],
        "kernel": info.get("architecture"),
        "threads": info["num_threads"],
    }
