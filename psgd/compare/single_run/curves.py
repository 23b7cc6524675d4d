"""Learning curves of a run, read from its metrics.jsonl."""

import math
from pathlib import Path
from typing import Any, NamedTuple

from psgd.core.errors import DataError
from psgd.jobs.files.metrics_file import KINDS, read_rows

AXES = ("seconds", "examples", "bytes")


class Curve(NamedTuple):
    """One quantity over the run: its values, and their positions on each of AXES."""

    at: dict[str, list[float]]
    values: list[float]


class RunCurves(NamedTuple):
    """A run directory and its curves, by those of KINDS that it has."""

    path: Path
    curves: dict[str, Curve]


def read_run(path: Path) -> RunCurves:
    """Read the curves of the run in `path`. DataError, with file and line, if metrics are missing or broken."""
    rows = read_rows(path)
    sent = 0.0
    for row in rows:  # rows of evaluations have no bytes: nothing was sent since the last round
        sent = row.setdefault("bytes", sent)
    run = RunCurves(path, {kind: curve for kind in KINDS if (curve := _curve(rows, kind)).values})
    if not run.curves:
        raise DataError(
            f"{path / 'metrics.jsonl'}:{len(rows)}: no loss is recorded up to here; let the run go on for a while"
        )
    return run


def _curve(rows: list[dict[str, Any]], kind: str) -> Curve:
    """The finite values of one kind."""
    found = [row for row in rows if row.get(kind) is not None and math.isfinite(row[kind])]
    return Curve({axis: [row[axis] for row in found] for axis in AXES}, [row[kind] for row in found])
