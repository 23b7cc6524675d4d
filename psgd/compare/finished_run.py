"""Reads what a run of a comparison left: its series of evaluations and its result, as plain JSON."""

import json
from pathlib import Path
from typing import Any

from psgd.core.errors import DataError
from psgd.jobs.files.metrics_file import read_rows

ENDED = ("done", "target-reached", "diverged")  # the status of a run that need not be trained again
SCORES = ("validation_accuracy", "validation_loss", "test_accuracy", "test_loss")


def read_entry(seed: int, directory: Path, error: str | None, diverged: bool) -> dict[str, Any]:
    """The entry of a run in results.json. DataError if its files are broken."""
    summary = read_summary(directory)
    return {
        "seed": seed,
        "id": directory.name,
        "status": "diverged" if diverged else "failed" if error else "done",
        "error": "it diverged" if diverged else error,  # the same when it is read again
        "sha256": summary.get("parameters_sha256"),
        "rounds": summary.get("rounds", 0),
        "epochs": summary.get("epochs"),
        "worker_steps": summary.get("worker_steps", []),
        "series": _series(directory),
        "measured": None,
    }


def status(directory: Path) -> str | None:
    """The status of the run in `directory`, None if it has not ended."""
    return read_summary(directory).get("status")


def read_group(directory: Path) -> dict[str, Any]:
    """How the run in `directory` was trained: its group and number of processes."""
    summary = read_summary(directory)
    return {"group": summary.get("group"), "processes": summary.get("processes")}


def read_examples_per_epoch(directory: Path) -> int | None:
    """The examples of an epoch of the run in `directory`; None if it has not ended."""
    summary = read_summary(directory)
    found: int | None = summary.get("examples_per_epoch")
    if found is None and summary.get("epochs"):  # of an earlier psgd
        found = round(summary["examples"] / summary["epochs"])
    return found


def read_seconds(directory: Path) -> list[float]:
    """The seconds of training at each evaluation."""
    return [float(row["seconds"]) for row in _evaluations(directory)]


def _series(directory: Path) -> dict[str, list[Any]]:
    rows = _evaluations(directory) if (directory / "metrics.jsonl").exists() else []
    series: dict[str, list[Any]] = {"examples": [r["examples"] for r in rows], "rounds": [r["round"] for r in rows]}
    names = [name for name in ("combinations", *SCORES) if rows and all(name in row for row in rows)]
    return series | {name: [row[name] for row in rows] for name in names}


def _evaluations(directory: Path) -> list[dict[str, Any]]:
    return [row for row in read_rows(directory) if any(name in row for name in SCORES)]


def read_summary(directory: Path) -> dict[str, Any]:
    """The summary of the run in `directory`, empty if it has not ended. DataError if it is broken."""
    path = directory / "summary.json"
    if not path.exists():
        return {}
    try:
        return dict(json.loads(path.read_text("utf-8")))
    except (OSError, ValueError) as error:
        raise DataError(f"{path}: cannot be read: {error}; move it away to go on without it") from None
