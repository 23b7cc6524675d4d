"""Stand-ins for what takes long in a comparison, and psgd.compare with these: `python tests/comparing.py POINT CONFIG
[its arguments]`, which kills its process group when a run at POINT (tuning, scoring, timing) is under way."""

import hashlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from psgd.compare.plan import Trial
from psgd.compare.runs import Outcome
from psgd.config.settings import Settings
from psgd.core.files import to_json, write_json, write_text

COSTS = {"step": 1e-4, "leaf": 1e-6, "apply": 1e-5, "rest": 5e-5, "contention": 0.0, "gathers": 0.0, "candidates": 1.0}
EXAMPLES = 1000  # of an epoch, of data that the settings do not make

Score = Callable[
    [Settings], Sequence[float] | str | None
]  # accuracies; what the run said when it failed; None: diverged


class InstantRuns:
    """Writes the files of runs in place of training them: an evaluation an epoch, with the accuracies of `score`."""

    def __init__(self, directory: Path, score: Score) -> None:
        self.directory, self.score = directory, score
        self.trained: list[Trial] = []  # but not those that were done before

    def watch(self, what: str, done: int, count: int) -> None:
        pass

    def train(self, trials: Sequence[Trial], what: str) -> dict[str, Outcome]:
        return {trial.identity: self._train(trial, self.directory / "runs" / trial.identity) for trial in trials}

    def timed(self, trial: Trial) -> Outcome:
        return self._train(trial, self.timed_directory(trial))

    def is_timed(self, trial: Trial) -> bool:
        return (self.timed_directory(trial) / "summary.json").exists()

    def timed_directory(self, trial: Trial) -> Path:
        return self.directory / "timed" / trial.identity

    def _train(self, trial: Trial, directory: Path) -> Outcome:
        scores = self.score(trial.settings)
        if isinstance(scores, str):
            return Outcome(directory, scores)
        if not (directory / "summary.json").exists():
            self.trained.append(trial)
            directory.mkdir(parents=True)
            write_text(directory / "metrics.jsonl", "".join(to_json(row) + "\n" for row in _rows(trial, scores or ())))
            write_json(directory / "summary.json", _summary(trial, scores))
        return Outcome(directory, None if scores else "the loss is not finite", not scores)


def cell(results: dict[str, Any], arm: str, **at: str) -> dict[str, Any]:
    return next(cell for cell in results["cells"] if cell["arm"] == arm and at.items() <= cell["at"].items())


def _examples(trial: Trial) -> int:
    return getattr(trial.settings.data, "examples", EXAMPLES)


def _rows(trial: Trial, scores: Sequence[float]) -> list[dict[str, Any]]:
    return [
        {
            "round": i,
            "epoch": float(i),
            "examples": _examples(trial) * i,
            "seconds": 0.5 * i,
            "validation_accuracy": score,
        }
        for i, score in enumerate(scores, 1)
    ]


def _summary(trial: Trial, scores: Sequence[float] | None) -> dict[str, Any]:
    return {
        "status": "done" if scores else "diverged",
        "parameters_sha256": hashlib.sha256(trial.identity.encode()).hexdigest(),
        "rounds": len(scores or ()),
        "epochs": float(len(scores or ())),
        "examples_per_epoch": _examples(trial),
        "worker_steps": [1] * trial.settings.worker_count,
        "group": "serial",
        "processes": 1,
    }


class Costs:
    """Stands in for the cost cache."""

    def look_up(self, settings: Settings) -> dict[str, Any]:
        return {"parameters": 10, "message_bytes": 40, "costs": dict(COSTS)}


def _point(command: Sequence[str]) -> str:
    """Which step of a comparison a run belongs to; tuning seeds are those from 100. "other": it is no run."""
    if "psgd.train" not in command:
        return "other"
    config, directory = Path(command[3]), Path(command[-1])
    if directory.parent.name == "timed":
        return "timing"
    return "tuning" if "seed: 10" in config.read_text("utf-8") else "scoring"


def main(point: str, arguments: list[str]) -> int:
    from psgd.compare import command, cost_cache, runs
    from psgd.compare.__main__ import main as compare

    cost_cache.measure = cost_cache.measure_contention = lambda settings, data: dict(COSTS)
    command.write_report = lambda directory, results, times: []

    class Popen(subprocess.Popen):
        def __init__(self, command: list[str], **options: Any) -> None:
            super().__init__(command, **options)
            if _point(command) == point:
                metrics = Path(command[-1]) / "metrics.jsonl"
                while not metrics.exists() and self.poll() is None:
                    time.sleep(0.001)
                os.killpg(0, signal.SIGKILL)

    runs.subprocess.Popen = Popen  # type: ignore[misc]
    return compare(arguments)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], sys.argv[2:]))
