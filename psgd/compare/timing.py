"""Measures the seconds of runs: each is trained again, alone on this machine."""

import json
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

from psgd.compare.finished_run import read_entry, read_group, read_seconds
from psgd.compare.idle import BUSY, busy_cores
from psgd.compare.plan import Trial
from psgd.compare.runs import Outcome, Runs
from psgd.core.files import write_json
from psgd.core.log import LOG


def time_runs(runs: Runs, wanted: Sequence[tuple[Trial, str, dict[str, Any]]]) -> None:
    """Set the entry `measured` of runs, each given with its cell's name and its entry in results.json. A run with
    another hash than before is reported and left out, as is one that failed."""
    new = any(not runs.is_timed(trial) for trial, _, _ in wanted)
    for number, (trial, name, run) in enumerate(wanted):
        if new:
            runs.watch("timing", number, len(wanted))
        directory = runs.timed_directory(trial)
        note = directory.with_suffix(".json")  # kept, for a later call that does not train the run again
        if runs.is_timed(trial):
            outcome = Outcome(directory, None)
        else:
            idle = busy_cores() < BUSY
            outcome = runs.timed(trial)
            write_json(note, {"idle": idle})
        if outcome.error:
            LOG.warning("psgd: %s, seed %d, could not be timed: %s", name, run["seed"], outcome.error)
        elif read_entry(run["seed"], *outcome)["sha256"] != run["sha256"]:
            LOG.warning("psgd: %s, seed %d, has another hash when it is timed: its time is left out", name, run["seed"])
        else:
            idle = False
            with suppress(OSError, ValueError, KeyError, TypeError):  # broken: taken for one of a busy machine
                idle = bool(json.loads(note.read_text("utf-8"))["idle"])
            run["measured"] = {**read_group(directory), "idle": idle, "seconds": [read_seconds(directory)]}
    if new:
        runs.watch("timing", len(wanted), len(wanted))
