"""What a run leaves for people: metrics, and lines that say how far it is. Only the first process writes.

It also keeps the time, in three parts that add up to the training: computing, waiting at meetings, combining.
"""

import json
import sys
import time
from pathlib import Path
from typing import Any, TextIO, final

from psgd.bar import bar_for
from psgd.errors import StorageError
from psgd.evaluation import Score
from psgd.replica import Progress
from psgd.rundir import to_json, write_text

PARTS = ("compute", "wait", "combine")
SAY_EVERY = 5.0  # seconds between two lines of progress
SAY_SCORES_EVERY = 0.5  # seconds: of many evaluations a second, one is said; all are in the metrics


@final
class Record:
    """`lap` after each part of the work; `round` after each round; `score` after each evaluation."""

    def __init__(self, directory: Path | None, examples: int, epochs: float, label: str, quiet: bool) -> None:
        self._path = directory / "metrics.jsonl" if directory else None
        self._file: TextIO | None = None
        self.writes = True  # whether this process is the one that writes
        self._examples, self._epochs = examples, epochs
        self._label, self._quiet = label, quiet
        self._bar = None if quiet else bar_for(sys.stderr)
        self.seconds = dict.fromkeys((*PARTS, "other"), 0.0)
        self.last_score: dict[str, float] = {}
        self._written = dict(self.seconds)
        self._loss = 0.0
        self._seen = 0
        self._line = 0  # hundredths of an epoch that have a line
        self._spoke = self._lapped = time.perf_counter()
        self._warned = -SAY_EVERY

    @property
    def train_seconds(self) -> float:
        """Training, and what it tells of itself: no start-up, no evaluation, no checkpoint."""
        return sum(self.seconds[part] for part in PARTS)

    def lap(self, part: str) -> None:
        now = time.perf_counter()
        self.seconds[part] += now - self._lapped
        self._lapped = now

    def round(self, progress: Progress, loss: float, examples: int, bytes_sent: int) -> None:
        """`loss` is the sum over the round's examples. A line at most every hundredth of an epoch, by progress and
        not by the clock, so that the lines are the same every time."""
        self._loss += loss
        self._seen += examples
        mark = 100 * progress.position // self._examples
        if mark == self._line:
            return
        self._line = mark
        if self.writes:
            self._write_rounds(progress, bytes_sent)
        self._written = dict(self.seconds)
        self._loss, self._seen = 0.0, 0

    def leg(self, progress: Progress, done: float) -> None:
        """After a meeting in the middle of a round, of which `done` is done."""
        self._show(progress, f"{self._epoch(progress)}, round {progress.round}: {100 * done:.0f} % of it")

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
        self._write(progress, row)
        words = ", ".join(f"{name.replace('_', ' ')} {value:.4f}" for name, value in row.items())
        if last or time.perf_counter() - self._spoke > SAY_SCORES_EVERY:
            self.say(f"{self._epoch(progress)}, {self.train_seconds:.1f} s: {words}")

    def cut(self, round: int) -> None:
        """Forget the lines after `round`: the run goes on from there."""
        self.close()
        self._loss, self._seen, self._line = 0.0, 0, 0
        if self._path is None or not self._path.exists():
            return
        kept = []
        try:
            for line in self._path.read_text().splitlines(keepends=True):
                row = json.loads(line) if line.endswith("\n") else {"round": round + 1}
                if row["round"] > round:
                    break
                kept.append(line)
                self._line = 100 * row["examples"] // self._examples
            write_text(self._path, "".join(kept))
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise StorageError(f"cannot read {self._path}, line {len(kept) + 1}: {error}") from None

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

    def _write_rounds(self, progress: Progress, bytes_sent: int) -> None:
        """A line of the rounds since the last one."""
        mean = self._loss / self._seen if self._seen else None
        parts = {f"{part}_seconds": round(self.seconds[part] - self._written[part], 6) for part in PARTS}
        weights = [round(w, 9) for w in progress.last_weights]
        self._write(progress, {**parts, "bytes": bytes_sent, "loss": mean, "weights": weights})
        if mean is not None:
            self._show(progress, f"{self._epoch(progress)}, round {progress.round}, loss {mean:.4f}")

    def _show(self, progress: Progress, text: str) -> None:
        if self._bar and self.writes:
            self._bar.show(progress.position / (self._epochs * self._examples), text)
        elif time.perf_counter() - self._spoke > SAY_EVERY:
            self.say(text)

    def _epoch(self, progress: Progress) -> str:
        return f"epoch {progress.position / self._examples:.2f}/{self._epochs:g}"

    def _write(self, progress: Progress, row: dict[str, Any]) -> None:
        if self._path is None or not self.writes:
            return
        head = {
            "round": progress.round,
            "epoch": round(progress.position / self._examples, 6),
            "examples": progress.position,
            "seconds": round(self.train_seconds, 6),
        }
        try:
            if self._file is None:
                self._file = open(self._path, "a", buffering=1)
            self._file.write(to_json(head | row) + "\n")
        except OSError as error:
            raise StorageError(f"cannot write {self._path}: {error.strerror}") from None

    def close(self) -> None:
        if self._bar:
            self._bar.clear()
        if self._file:
            self._file.close()
            self._file = None
