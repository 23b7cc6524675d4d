"""Environment variables of MPI launchers and Slurm: whether the launcher is there, or left them behind."""

import os
import re
from pathlib import Path
from typing import Any

from psgd.core.errors import UsageError
from psgd.core.launcher import is_single_task, launched
from psgd.core.launcher_processes import ancestors
from psgd.doctor.finding import Finding, note, ok, wrong

# Variables that tell a process its place in a job; settings such as OMPI_MCA_* do not count.
_OF_MPI = re.compile(r"PMI_|PMIX_(?!MCA_)|OMPI_(COMM_WORLD|UNIVERSE)_|HYDI?_|MPI_LOCAL")
_OF_SLURM = re.compile(r"SLURM_(JOB_?ID|STEP_?ID|NTASKS|PROCID|STEP_NUM_TASKS)$")


def check() -> list[Finding]:
    return [judge(launcher_above())]


def left_behind() -> list[str]:
    """The variables that tell a process its place in an MPI job."""
    return sorted(name for name in os.environ if _OF_MPI.match(name))


def judge(above: str | None) -> Finding:
    """What the environment makes of a plain `psgd train`. `above`: see `launcher_above`."""
    from psgd.jobs.choose.group import check_launched

    mpi, slurm = left_behind(), sorted(name for name in os.environ if _OF_SLURM.match(name))
    details: dict[str, Any] = {"variables": {name: os.environ[name] for name in mpi + slurm}, "launcher": above}
    try:
        check_launched("auto", "group: auto or mpi")
    except UsageError as error:
        return wrong("launcher", f"a plain psgd train is refused here: {error}", **details)
    if above and launched():
        advice = "call it without a launcher, to check what mpirun does"
        return note("launcher", f"{above} started psgd doctor as a process of an MPI job", advice, **details)
    if launched():
        text = f"a launcher left {', '.join(mpi)} behind: a plain psgd train takes itself for a process of MPI"
        return wrong("launcher", text, f"unset {' '.join(mpi)}", **details)
    if slurm and (is_single_task() or not mpi):
        return ok("launcher", f"in a job of Slurm ({', '.join(slurm)}), not started as a process of MPI", **details)
    if mpi:
        text = f"a launcher left {', '.join(mpi)} behind: a plain psgd train sees that, mpirun may not"
        return note("launcher", text, f"unset {' '.join(mpi)}", **details)
    return ok("launcher", "no launcher's variables are set: a plain psgd train uses this process or threads")


def launcher_above(proc: Path = Path("/proc")) -> str | None:
    """The name of the MPI launcher that started this process, directly or not; None if there is none."""
    return next((ancestor.name for ancestor in ancestors(proc) if ancestor.launches), None)
