"""Functions of all benchmarks: running processes, taking medians, and describing the machine and the measurement.

Every contender runs in processes of its own, pinned to cores, with one BLAS thread, and with the kernel that the BLAS
chooses by default. Contenders take turns in each repetition; a ratio is the median of the ratios within repetitions, so
that disturbances of the machine affect both sides.
"""

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import median
from typing import Any

ROOT = Path(__file__).resolve().parents[1]


def arguments(description: str | None) -> argparse.ArgumentParser:
    """A parser with the options of every benchmark."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true", help="print the figures as JSON")
    parser.add_argument("--quick", action="store_true", help="one short repetition: a trial, not a measurement")
    parser.add_argument("--repetitions", type=int, default=5, help="5 if not given")
    return parser


def contender_environment() -> dict[str, str]:
    """The environment of a contender: one BLAS thread and the BLAS's default kernel; some machines set another."""
    environment = {k: v for k, v in os.environ.items() if k not in ("OPENBLAS_CORETYPE", "OPENBLAS_L2_SIZE")}
    environment["PYTHONPATH"] = os.pathsep.join(filter(None, [str(ROOT), environment.get("PYTHONPATH")]))
    return environment | {f"{name}_NUM_THREADS": "1" for name in ("OPENBLAS", "OMP", "MKL", "BLIS")}


def run(command: Sequence[str], cores: set[int] | None = None, seconds: float = 600, **variables: str) -> str:
    """Run a command, pinned to `cores` if given, and return its stdout. SystemExit if it fails."""
    finished = subprocess.run(
        command,
        env=contender_environment() | variables,
        capture_output=True,
        text=True,
        timeout=seconds,
        preexec_fn=(lambda: os.sched_setaffinity(0, cores)) if cores else None,
    )
    if finished.returncode:
        sys.exit(f"{' '.join(command)} ended with {finished.returncode}:\n{finished.stdout}{finished.stderr}")
    return finished.stdout


def together(commands: Sequence[Sequence[str]], cores: Sequence[set[int]], seconds: float = 600) -> list[str]:
    """Run commands at the same time, each pinned to its cores, and return their stdouts. SystemExit if one fails."""
    running = [
        subprocess.Popen(
            command,
            env=contender_environment(),
            stdout=subprocess.PIPE,
            text=True,
            preexec_fn=lambda own=own: os.sched_setaffinity(0, own),
        )
        for command, own in zip(commands, cores, strict=True)
    ]
    try:
        printed = [process.communicate(timeout=seconds)[0] for process in running]
    finally:
        for process in running:
            process.kill()
    for command, process in zip(commands, running, strict=True):
        if process.returncode:
            sys.exit(f"{' '.join(command)} ended with {process.returncode}")
    return printed


def train(command: Sequence[str], cores: set[int] | None = None, seconds: float = 600) -> dict[str, Any]:
    """Run psgd in a temporary directory and return its summary. `command`: the whole command without the directory."""
    with tempfile.TemporaryDirectory() as directory:
        summary: dict[str, Any] = json.loads(run([*command, "--quiet", "--output", directory], cores, seconds))
    return summary


def mpirun(processes: int) -> list[str]:
    """The launcher of this environment. It binds each process to a core; they share cores if there are fewer."""
    return [str(_MPIRUN), "-n", str(processes), "-bind-to", "core"]


def have_mpirun() -> bool:
    """Whether this environment has mpirun; a note on stderr if not."""
    if not _MPIRUN.exists():
        print("no mpirun in this environment: its rows are left out (pip install mpi4py mpich)", file=sys.stderr)
    return _MPIRUN.exists()


_MPIRUN = Path(sys.executable).parent / "mpirun"


def cores() -> list[int]:
    """The cores that this process may use; empty on systems that cannot pin processes."""
    return sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else []


def some_cores(count: int) -> set[int]:
    """The last `count` cores, to pin workers to."""
    return set(cores()[-count:])


def in_turns(contenders: dict[str, Callable[[], float]], repetitions: int) -> dict[str, list[float]]:
    """Measure all contenders once, then all again, and so on; return the seconds of each, by name."""
    seconds: dict[str, list[float]] = {name: [] for name in contenders}
    for _ in range(repetitions):
        for name, measure in contenders.items():
            seconds[name].append(measure())
    return seconds


def ratio(theirs: Sequence[float], ours: Sequence[float]) -> float:
    """The median of theirs / ours within repetitions."""
    return median(a / b for a, b in zip(theirs, ours, strict=True))


def about(repetitions: int, quick: bool) -> dict[str, Any]:
    """A description of the machine, its software and the measurement."""
    return {
        "machine": f"{cpu()}, {len(cores()) or os.cpu_count()} cores",
        "blas": run([sys.executable, "-c", _SAY_BLAS]).strip(),
        "python": platform.python_version(),
        "commit": commit(),
        "load": round(os.getloadavg()[0], 2),
        "repetitions": repetitions,
        "quick": quick,
    }


_SAY_BLAS = (
    "import numpy; from psgd.backends.blas import describe_blas as about; "
    "print('{name} {version} {kernel}'.format(**about()))"
)


def footer(about: dict[str, Any]) -> str:
    how = "a trial, not a measurement" if about["quick"] else f"medians of {about['repetitions']}"
    return (
        f"One thread a worker; {how}. {about['machine']}; {about['blas']}; Python {about['python']}; "
        f"psgd {about['commit']}; load {about['load']} at the start."
    )


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table with text in the first column and numbers in the others."""
    lines = [list(head), ["---", *["---:"] * (len(head) - 1)], *map(list, rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def show(about: dict[str, Any], rows: list[dict[str, Any]], as_json: bool, text: str) -> None:
    print(json.dumps({**about, "rows": rows}, indent=2) if as_json else f"{text}\n\n{footer(about)}")


def cpu() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        return next(line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()


def commit() -> str:
    found = subprocess.run(["git", "rev-parse", "--short", "HEAD"], cwd=ROOT, capture_output=True, text=True)
    return found.stdout.strip() or "unknown"


def have(module: str) -> bool:
    """Whether a module can be imported in this environment."""
    return subprocess.run([sys.executable, "-c", f"import {module}"], capture_output=True).returncode == 0
