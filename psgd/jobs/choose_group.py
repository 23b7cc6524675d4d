"""`auto`: where a job runs if the config leaves it open, and why."""

import os
from itertools import pairwise
from typing import Any

# Below this, two threads were slower than one or hardly faster: network C (5 MFLOP a step) gained 1.2, E (0.1) lost.
WORTH_A_THREAD = 3e6  # floating-point operations of a step


def cores() -> int:
    """Those this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def thread_count(settings: dict[str, Any]) -> int:
    return int(settings["cluster"]["processes"] or min(settings["workers"], cores()))


def choose_group(settings: dict[str, Any]) -> tuple[str, str]:
    """(group, reason), without a launcher."""
    if settings["workers"] == 1:
        return "serial", "one worker"
    if thread_count(settings) == 1:
        return "serial", "one core" if settings["cluster"]["processes"] is None else "cluster.processes is 1"
    if settings["cluster"]["processes"]:
        return "threads", f"cluster.processes is {thread_count(settings)}"
    work = 6.0 * settings["training"]["batch_size_per_worker"] * _weights(settings)
    if work < WORTH_A_THREAD:
        return "serial", f"a step of about {work / 1e6:.1f} million operations is too short to gain from threads"
    return "threads", f"{thread_count(settings)} cores; mpirun -n {settings['workers']} works too"


def _weights(settings: dict[str, Any]) -> int:
    """About how many there are: the data are not read yet."""
    data = settings["data"]
    features = {"digits": 64, "synthetic": data.get("features")}.get(data["source"]) or 784
    sizes = [features, *settings["model"]["hidden"], data.get("classes") or 10]
    return sum(a * b for a, b in pairwise(sizes))
