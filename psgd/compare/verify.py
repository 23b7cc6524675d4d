"""Trains the runs of a cell again, on any group, and compares the hashes of their parameters."""

import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

from psgd.compare.analysis.grid import cell_name
from psgd.compare.finished_run import read_entry
from psgd.compare.plan import Fingerprints, identity
from psgd.config.resolve import resolve
from psgd.core.cores import cores
from psgd.core.errors import Diverged, ProcessLost, PsgdError, StorageError, UsageError

GROUPS = ("serial", "threads", "mpi", "ray")
FAILURES: tuple[type[PsgdError], ...] = (UsageError, StorageError, ProcessLost)  # whose exit code a run may end with


def verify(directory: Path, results: dict[str, Any], name: str, group: str) -> list[str]:
    """Train the runs of the cell `name` again; lines that say what was found. UsageError if there is no such cell, or
    the group cannot be used; PsgdError if a hash differs, and one with the run's exit code if it fails."""
    if group not in GROUPS:
        raise UsageError(f"--group is {group}; choose one of {', '.join(GROUPS)}")
    cell = find_cell(results, name)
    if not any(run["sha256"] for run in cell["runs"]):
        raise UsageError(f"{name} has no run that ended, so there is no hash to compare: {cell['error']}")
    lines = []
    for run in cell["runs"]:
        if not run["sha256"]:
            lines.append(f"seed {run['seed']}: it failed, so there is no hash to compare")
            continue
        again = _train(directory, run["id"], group, cell["workers"])
        if again != run["sha256"]:
            found = f"seed {run['seed']} of {name} on {group} has the hash {again}, not {run['sha256']}"
            raise PsgdError(found + _why(directory, run["id"], group))
        lines.append(f"seed {run['seed']}: {run['sha256']}, on {group} too")
    return lines


def find_cell(results: dict[str, Any], name: str) -> dict[str, Any]:
    """The cell of this name, such as `sync, workers 4`. UsageError, which lists all names, if there is none."""
    names = {cell_name(cell): cell for cell in results["cells"]}
    wanted = ", ".join(part.strip() for part in name.split(","))
    if wanted not in names:
        raise UsageError(f"there is no cell {name!r}; there are: {'; '.join(names)}")
    return dict(names[wanted])


def _why(directory: Path, run: str, group: str) -> str:
    """The end of a message about another hash: the reason, if it is not the group."""
    settings = resolve(str(directory / "runs" / f"{run}.yaml"), []).settings
    if identity(settings, Fingerprints()(settings)) == run:
        return ""
    return f"; the data, or psgd itself, are not those of the comparison any more, so this says nothing about {group}"


def _train(directory: Path, run: str, group: str, workers: int) -> str | None:
    launcher = ["mpirun", "-n", str(min(workers, cores()))] if group == "mpi" else []
    if launcher and not shutil.which("mpirun"):
        raise UsageError("--group mpi needs mpirun: pip install 'psgd[mpi]', or choose another group")
    output = directory / "verified" / f"{run}-{group}"
    config = directory / "runs" / f"{run}.yaml"
    command = [sys.executable, "-m", "psgd.train", str(config), f"group={group}", "cluster.processes=null", "--quiet"]
    if output.exists():
        command.append("--overwrite")
    try:
        output.parent.mkdir(exist_ok=True)
    except OSError as error:
        raise StorageError(f"cannot make {output.parent}: {error.strerror}") from None
    done = subprocess.run(
        [*launcher, *command, "--output", str(output)], stdin=subprocess.DEVNULL, capture_output=True, text=True
    )
    if done.returncode not in (0, Diverged.code):  # a run that diverged has a hash, too
        last = (done.stderr.strip().splitlines() or ["it said nothing"])[-1]
        failed = next((kind for kind in FAILURES if kind.code == done.returncode), PsgdError)
        raise failed(f"the run could not be trained again on {group} (code {done.returncode}): {last}")
    sha256: str | None = read_entry(0, output, None, False)["sha256"]
    return sha256
