"""What a run leaves for people: metrics, and lines that say how far it is. Only the first process writes.

It also keeps the time, in three parts that add up to the training: computing, waiting at meetings, combining.
"""

import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, final

from psgd.core.replica import Progress
from psgd.training.evaluation import Score
from psgd.training.metrics import Metrics, Row
from psgd.training.progress_bar import bar_for

Seconds = dict[str, float]  # of each part

PARTS = ("compute", "wait", "combine")
LINES_AN_EPOCH, LINES = 100, 1000  # about rounds: as many, and as many in a whole run
SAY_EVERY = 5.0  # seconds between two lines of progress
SAY_SCORES_EVERY = 0.5  # seconds: of many evaluations a second, one is said; all are in the metrics


@final
class Recorder:
    """`lap` after each part of the work; `round` after each round; `score` after each evaluation."""

    def __init__(self, directory: Path | None, examples: int, epochs: float, label: str, quiet: bool) -> None:
        self._metrics = Metrics(directory)
        self.writes = True  # whether this process is the one that writes
        self._examples, self._epochs = examples, epochs
        self._label, self._quiet = label, quiet
        self._bar = None if quiet else bar_for(sys.stderr, epochs * examples)
        self.seconds: Seconds = dict.fromkeys((*PARTS, "other"), 0.0)
        self.last_score: dict[str, float] = {}
        self._written = dict(self.seconds)
        self._loss = 0.0
        self._seen = 0
        self._line = 0  # the last mark that has a line
        self._spoke = self._lapped = time.perf_counter()
        self._warned = -SAY_EVERY

    @property
    def train_seconds(self) -> float:
        """Training, and what it tells of itself: no start-up, no evaluation, no checkpoint."""
        return _training(self.seconds)

    def lap(self, part: str) -> None:
        now = time.perf_counter()
        self.seconds[part] += now - self._lapped
        self._lapped = now

    def round(self, progress: Progress, loss: float, examples: int, bytes_sent: int) -> None:
        """`loss` is the sum over the round's examples. A line at most every hundredth of an epoch, and every thousandth
        of the run: by progress and not by the clock, so that the lines are the same every time."""
        self._loss += loss
        self._seen += examples
        mark = self._mark(progress.position)
        if mark == self._line:
            return
        self._line = mark
        if self.writes:
            self._write_rounds(progress, bytes_sent)
        self._written = dict(self.seconds)
        self._loss, self._seen = 0.0, 0

    def leg(self, progress: Progress, done: float) -> None:
        """After a meeting in the middle of a round, of which `done` is done."""
        self._show(progress, lambda: f"{self._epoch(progress)}, round {progress.round}: {100 * done:.0f} % of it")

    def warn(self, text: str) -> None:
        """Said at most once in a while; the metrics' weights have all of it."""
        if time.perf_counter() - self._warned > SAY_EVERY:
            self._warned = time.perf_counter()
            self.say(f"warning: {text}")

    def score(self, progress: Progress, scores: dict[str, Score], last: bool) -> None:
        """After an evaluation: `scores` by name of the data, test or validation; `last` if training ends here."""
        row = {f"{name}_loss": score.loss for name, score in scores.items()}
        row |= {f"{name}_accuracy": s.accuracy for name, s in scores.items() if s.accuracy is not None}
        self.last_score = row
        if self.writes:
            self._metrics.add(partial(_row, self._examples, progress, dict(self.seconds), row))
        if last or time.perf_counter() - self._spoke > SAY_SCORES_EVERY:
            words = ", ".join(f"{name.replace('_', ' ')} {value:.4f}" for name, value in row.items())
            self.say(f"{self._epoch(progress)}, {self.train_seconds:.1f} s: {words}")

    def cut(self, round: int) -> None:
        """Forget the lines after `round`: the run goes on from there."""
        self._loss, self._seen = 0.0, 0
        self._line = self._mark(self._metrics.cut(round))

    def flush(self) -> None:
        """What was recorded is in the files now."""
        self._metrics.flush()

    def say(self, text: str) -> None:
        if self.writes and not self._quiet:
            if self._bar:
                self._bar.clear()
            print(f"[{self._label}] {text}", file=sys.stderr, flush=True)
            self._spoke = time.perf_counter()

    def state(self) -> dict[str, Any]:
        """For a checkpoint."""
        return {"seconds": self.seconds, "last_score": self.last_score, "loss": self._loss, "seen": self._seen}

    def restore(self, state: dict[str, Any]) -> None:
        self.seconds = dict(state["seconds"])
        self._written = dict(self.seconds)
        self.last_score = dict(state["last_score"])
        self._loss, self._seen = state["loss"], state["seen"]

    def _mark(self, position: int) -> int:
        return int(position * min(LINES_AN_EPOCH, LINES / self._epochs) / self._examples)

    def _write_rounds(self, progress: Progress, bytes_sent: int) -> None:
        """A line of the rounds since the last one."""
        mean = self._loss / self._seen if self._seen else None
        spent = dict(self.seconds)
        self._metrics.add(partial(_rounds_row, self._examples, progress, spent, self._written, bytes_sent, mean))
        if mean is not None:
            self._show(progress, lambda: f"{self._epoch(progress)}, round {progress.round}, loss {mean:.4f}")

    def _show(self, progress: Progress, text: Callable[[], str]) -> None:
        if self._quiet or not self.writes:
            return
        if self._bar:
            self._bar.show(progress.position / (self._epochs * self._examples), text())
        elif time.perf_counter() - self._spoke > SAY_EVERY:
            self.say(text())

    def _epoch(self, progress: Progress) -> str:
        return f"epoch {progress.position / self._examples:.2f}/{self._epochs:g}"

    def close(self) -> None:
        if self._bar:
            self._bar.clear()
        self._metrics.close()


def _training(seconds: Seconds) -> float:
    return sum(seconds[part] for part in PARTS)


def _row(examples: int, progress: Progress, spent: Seconds, rest: Row) -> Row:
    head = {
        "round": progress.round,
        "epoch": round(progress.position / examples, 6),
        "examples": progress.position,
        "seconds": round(_training(spent), 6),
    }
    return head | rest


def _rounds_row(
    examples: int, progress: Progress, spent: Seconds, before: Seconds, bytes_sent: int, loss: float | None
) -> Row:
    parts = {f"{part}_seconds": round(spent[part] - before[part], 6) for part in PARTS}
    weights = [round(w, 9) for w in progress.last_weights]
    return _row(examples, progress, spent, {**parts, "bytes": bytes_sent, "loss": loss, "weights": weights})
