"""The number of cores that there are for this process."""

import os

from psgd.core.cgroup import limits


def cores() -> int:
    """The cores that this process may keep busy: those of its affinity mask, or fewer where a control group (a
    container) allows less time."""
    quota = limits().cpus
    return masked_cores() if quota is None else max(1, min(masked_cores(), int(quota)))


def masked_cores() -> int:
    """The cores of this process's affinity mask."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
