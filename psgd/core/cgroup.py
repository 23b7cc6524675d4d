"""The limits that control groups set for this process, in versions 1 and 2 of Linux's interface."""

from collections.abc import Iterator
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import NamedTuple

_UNLIMITED = 1 << 60  # version 1 writes a limit about as large as this where there is none


class Limits(NamedTuple):
    cpus: float | None  # CPU seconds a second; None if there is no limit
    memory: int | None  # bytes


@cache
def limits(root: Path = Path("/")) -> Limits:
    """The lowest limits of this process's control groups and those above them, read once. `root`: where /proc and /sys
    are."""
    cpus, memory = [], []
    for directory in _directories(root):
        with suppress(OSError, ValueError):
            quota, period = (directory / "cpu.max").read_text().split()
            cpus.append(int(quota) / int(period))  # ValueError if quota is "max"
        with suppress(OSError, ValueError):
            if (quota_us := _number(directory / "cpu.cfs_quota_us")) > 0:
                cpus.append(quota_us / _number(directory / "cpu.cfs_period_us"))
        for name in ("memory.max", "memory.limit_in_bytes"):
            with suppress(OSError, ValueError):
                memory.append(_number(directory / name))
    return Limits(min(cpus, default=None), min((m for m in memory if m < _UNLIMITED), default=None))


def _number(file: Path) -> int:
    return int(file.read_text())


def _directories(root: Path) -> Iterator[Path]:
    """The directories of this process's control groups and of all above them. In a container, the path that the kernel
    names may be the host's, and only its top is there."""
    try:
        lines = (root / "proc/self/cgroup").read_text().splitlines()
    except OSError:
        return
    for line in lines:
        _, controllers, path = line.split(":", 2)
        mounts = [controllers, *controllers.split(",")] if controllers else ["", "unified"]
        for mount in mounts:
            top = root / "sys/fs/cgroup" / mount
            below = top / path.lstrip("/")
            yield from (each for each in (below, *below.parents) if each.is_relative_to(top) and each.is_dir())
