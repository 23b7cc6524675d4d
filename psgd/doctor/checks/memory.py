"""The memory of the machine, what is left of it, and the control group's limit."""

from contextlib import suppress
from pathlib import Path

from psgd.core.cgroup import limits
from psgd.core.memory import physical_bytes
from psgd.core.wording import data_size
from psgd.doctor.finding import Finding, note, ok

_LITTLE = 500e6  # bytes; a process of MNIST takes 130 MB


def check() -> list[Finding]:
    return [judge(physical_bytes(), available(), limits().memory)]


def judge(total: int, free: int | None, limit: int | None) -> Finding:
    """In bytes. `free`: what can be taken without swapping, None if unknown; `limit`: the control group's."""
    text = data_size(total) + (f", of which {data_size(free)} are free" if free is not None else "")
    details = {"total": total, "available": free, "limit": limit}
    if limit is not None and limit < total:
        text += f"; the control group (container) allows {data_size(limit)} in all"
        return note("memory", text, "a run that takes more is killed without a message (exit code 137)", **details)
    if free is not None and free < _LITTLE:
        return note("memory", text, "end other programs before you train", **details)
    return ok("memory", text, **details)


def available(root: Path = Path("/")) -> int | None:
    """Bytes that programs can take without swapping; None if the kernel does not tell."""
    with suppress(OSError, ValueError):
        for line in (root / "proc/meminfo").read_text().splitlines():
            if line.startswith("MemAvailable:"):
                return int(line.split()[1]) * 1024
    return None
