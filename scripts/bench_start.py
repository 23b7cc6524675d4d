#!/usr/bin/env python
"""Measure how long psgd takes to start: seconds from the start of a process to its end.

    python scripts/bench_start.py [--json] [--quick] [--repetitions N]

Rows are imports, a dry run without a probe, and whole trainings of one epoch on the embedded digits. Everything runs
once before it is measured, so that files are cached and compiled to bytecode. A single process is pinned to one core.

`import psgd` imports nothing else until an attribute is used; `psgd.fit` also imports numpy and all that `fit` needs:
compare a rival's import with that.
"""

import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from statistics import median
from typing import Any

from benchmark import about, arguments, have, have_mpirun, in_turns, mpirun, ratio, run, show, some_cores, table

PSGD, FIT, DRY_RUN = "import psgd", "import psgd; psgd.fit", "psgd.train --dry-run --no-probe"
LIMITS = {DRY_RUN: 0.6, PSGD: 0.2}  # seconds
RIVALS = {"torch": "torch", "jax": "jax", "tensorflow": "tensorflow"}  # module: package
TRAIN = [sys.executable, "-m", "psgd.train"]
TINY = ["training.epochs=1", "--quiet"]


def main() -> int:
    options = arguments(__doc__).parse_args()
    repetitions = 1 if options.quick else options.repetitions
    machine, measured = about(repetitions, options.quick), contenders()
    for measure in measured.values():
        measure()
    seconds = in_turns(measured, repetitions)
    rows = [row(name, seconds) for name in seconds]
    show(machine, rows, options.json, f"{as_table(rows)}\n\n{verdict(rows)}")
    return 0


def contenders() -> dict[str, Callable[[], float]]:
    """For each row, a function that measures the seconds."""
    found = {"python -c pass": importing("pass")}
    found |= {line: importing(line) for line in ("import numpy", PSGD, FIT)}
    found[DRY_RUN] = partial(lasting, [*TRAIN, "--dry-run", "--no-probe"])
    found["training, one process"] = partial(training, [*TRAIN, *TINY, "group=serial"])
    if have_mpirun():
        found["training, mpirun -n 4"] = partial(training, [*mpirun(4), *TRAIN, *TINY], alone=False)
    for module, package in RIVALS.items():
        if have(module):
            found[f"import {module}"] = importing(f"import {module}")
        else:
            print(f"no {module} in this environment: it is left out (pip install {package})", file=sys.stderr)
    return found


def importing(line: str) -> Callable[[], float]:
    return partial(lasting, [sys.executable, "-c", line])


def lasting(command: list[str], alone: bool = True) -> float:
    began = time.perf_counter()
    run(command, some_cores(1) if alone else None)
    return time.perf_counter() - began


def training(command: list[str], alone: bool = True) -> float:
    with tempfile.TemporaryDirectory() as directory:
        return lasting([*command, "--output", directory], alone)


def row(name: str, seconds: dict[str, list[float]]) -> dict[str, Any]:
    return {
        "what": name,
        "seconds": median(seconds[name]),
        "limit_seconds": LIMITS.get(name),
        "times_psgd_fit": ratio(seconds[name], seconds[FIT]),
        "times_import_psgd": ratio(seconds[name], seconds[PSGD]),
        "all_seconds": [round(each, 4) for each in seconds[name]],
    }


def as_table(rows: list[dict[str, Any]]) -> str:
    lines = [
        [row["what"], f"{row['seconds']:.3f}", f"{row['times_psgd_fit']:.2f}", f"{row['times_import_psgd']:.1f}"]
        for row in rows
    ]
    return table(["until it has ended", "seconds", "times psgd.fit", "times import psgd"], lines)


def verdict(rows: list[dict[str, Any]]) -> str:
    limited = [row for row in rows if row["limit_seconds"]]
    return "; ".join(
        f"{row['what']}: {row['seconds']:.3f} s, {'below' if row['seconds'] < row['limit_seconds'] else 'NOT below'} "
        f"{row['limit_seconds']}"
        for row in limited
    )


if __name__ == "__main__":
    sys.exit(main())
