"""The cores that this process may use: affinity mask, control group, threads of a core, and the load by others."""

import os
from pathlib import Path
from typing import Any

from psgd.core.cgroup import limits
from psgd.core.wording import counted
from psgd.doctor.finding import Finding, note, ok


def check() -> list[Finding]:
    from psgd.core.cores import cores, masked_cores

    return [
        judge_cores(os.cpu_count() or 1, masked_cores(), cores(), limits().cpus, threads_per_core()),
        judge_load(os.getloadavg()[0], cores()),
    ]


def judge_cores(there: int, masked: int, taken: int, quota: float | None, threads: int) -> Finding:
    """`there`: cores of the machine; `masked`: those in the affinity mask; `taken`: those that psgd takes; `quota`:
    CPUs' time that the control group allows; `threads`: hardware threads on a core."""
    details: dict[str, Any] = {"machine": there, "affinity": masked, "quota": quota, "threads_per_core": threads}
    text = f"{counted(masked, 'core')}"
    if quota is not None and quota < masked:
        text += f", but the control group (container) allows the time of {quota:g}, and stops what runs beyond it"
        return note("cores", f"{text}: psgd takes {counted(taken, 'core')}", **details)
    if masked < there:
        return note(
            "cores",
            f"{text} of {there}: the affinity mask has no more (taskset, mpirun, Slurm, a container)",
            **details,
        )
    if threads > 1:
        real = max(1, masked // threads)
        text += f", which are {real} with {threads} threads each: more than {real} busy workers gain little"
    return ok("cores", text, **details)


def judge_load(load: float, usable: int) -> Finding:
    """`load`: how many processes ran on average in the last minute."""
    text = f"on average {load:.1f} processes ran in the last minute"
    if load > usable / 2:
        return note(
            "load",
            f"{text}, on {counted(usable, 'core')}",
            "measure times when the machine is idle",
            load=load,
        )
    return ok("load", text, load=load)


def threads_per_core(root: Path = Path("/")) -> int:
    """Hardware threads on the first core, as far as the kernel knows: virtual machines may not tell."""
    try:
        listed = (root / "sys/devices/system/cpu/cpu0/topology/thread_siblings_list").read_text().strip()
    except OSError:
        return 1
    ends = [[int(number) for number in part.split("-")] for part in listed.split(",")]
    return sum(each[-1] - each[0] + 1 for each in ends)
