"""Learning curves of a run, read from its metrics.jsonl."""

import json
import math
from pathlib import Path
from typing import Any, NamedTuple

from psgd.core.errors import DataError

AXES = ("seconds", "examples", "bytes")
KINDS = ("loss", "validation_loss", "test_loss", "validation_accuracy", "test_accuracy")


class Curve(NamedTuple):
    """One quantity over the run: its values, and their positions on each of AXES."""

    at: dict[str, list[float]]
    values: list[float]


class Run(NamedTuple):
    """A run directory and its curves, by those of KINDS that it has."""

    path: Path
    curves: dict[str, Curve]


def read_run(path: Path) -> Run:
    """Read the curves of the run in `path`. DataError, with file and line, if metrics are missing or broken."""
    rows = read_rows(path)
    sent = 0.0
    for row in rows:  # rows of evaluations have no bytes: nothing was sent since the last round
        sent = row.setdefault("bytes", sent)
    run = Run(path, {kind: curve for kind in KINDS if (curve := _curve(rows, kind)).values})
    if not run.curves:
        raise DataError(
            f"{path / 'metrics.jsonl'}:{len(rows)}: no loss is recorded up to here; let the run go on for a while"
        )
    return run


def read_rows(path: Path) -> list[dict[str, Any]]:
    """Read the lines of metrics of the run in `path`, without one that is being written. DataError as above."""
    file = path / "metrics.jsonl"
    try:
        lines = file.read_text("utf-8").splitlines(keepends=True)
    except FileNotFoundError:
        hint = "give the directory of a run" if path.is_dir() else "there is no such run"
        raise DataError(f"{file} does not exist: {hint}") from None
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{file} cannot be read: {error}") from None
    if lines and not lines[-1].endswith("\n"):
        lines.pop()  # incomplete: the run is still writing
    return [_row(line, f"{file}:{number}") for number, line in enumerate(lines, 1)]


def _row(line: str, where: str) -> dict[str, Any]:
    try:
        row = json.loads(line)
    except json.JSONDecodeError as error:
        raise DataError(f"{where}: not JSON ({error.msg}, column {error.colno})") from None
    if not isinstance(row, dict):
        raise DataError(f"{where}: {line.strip()[:40]} is no mapping; each line must be a mapping of metrics")
    for name in ("seconds", "examples", *({"bytes", *KINDS} & row.keys())):
        value = row.get(name)
        if name == "loss" and value is None:
            continue  # no worker took a step
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise DataError(f"{where}: {name} is {json.dumps(value)}; expected a number")
    return row


def _curve(rows: list[dict[str, Any]], kind: str) -> Curve:
    """The finite values of one kind."""
    found = [row for row in rows if row.get(kind) is not None and math.isfinite(row[kind])]
    return Curve({axis: [row[axis] for row in found] for axis in AXES}, [row[kind] for row in found])
