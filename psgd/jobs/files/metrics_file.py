"""Reads the metrics of a run, metrics.jsonl."""

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from psgd.core.errors import DataError

KINDS = ("loss", "validation_loss", "test_loss", "validation_accuracy", "test_accuracy")


def read_rows(path: Path) -> list[dict[str, Any]]:
    """Read the lines of metrics of the run in `path`, without one that is being written. DataError if there are none,
    or a line is broken."""
    file = path / "metrics.jsonl"
    try:
        lines = file.read_text("utf-8").splitlines(keepends=True)
    except FileNotFoundError:
        if (path / "config.yaml").exists():
            hint = "the run has just begun, or ended before its first line of metrics"
        else:
            hint = "give the directory of a run" if path.is_dir() else "there is no such run"
        raise DataError(f"{file} does not exist: {hint}") from None
    except NotADirectoryError:
        raise DataError(f"{path} is a file; give the directory of a run, such as {path.parent}") from None
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{file} cannot be read: {getattr(error, 'strerror', error)}") from None
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
    known = {name for name in KINDS if row.get(name) is not None}  # None: not finite, or no worker took a step
    check_numbers(where, row, ("seconds", "examples", *({"bytes"} & row.keys()), *known))
    return row


def check_numbers(where: str, found: Mapping[str, Any], names: Iterable[str]) -> None:
    """DataError if one of these is missing or no number. `where`: the file, and maybe the line."""
    for name in names:
        value = found.get(name)
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise DataError(f"{where}: {name} is {json.dumps(value)}; expected a number")
