"""What a run reports to people: metrics, and lines or a bar of progress. Only the first process writes.

The recorder listens: nothing in the training depends on what it has seen.
"""

import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, Protocol, final

from psgd.core.log import LOG
from psgd.core.replica import Progress
from psgd.training.metrics import Metrics, Row
from psgd.training.progress_bar import bar_for
from psgd.training.stopwatch import PARTS, TRAINING_PARTS, Stopwatch, train_seconds

LINES_PER_EPOCH, LINES_PER_RUN = 100, 1000  # metrics about rounds: at most that many
LINE_SECONDS = 5.0  # between two lines of progress on stderr
SCORE_LINE_SECONDS = 0.5  # between two lines about evaluations; all evaluations are in the metrics


class Listener(Protocol):
    """Hears what is written to the metrics, on the process that writes them."""

    def row(self, row: Callable[[], Row]) -> None:
        """`row` returns the line."""
        ...

    def truncate(self, examples: int) -> None:
        """The run begins, or goes on, after so many examples: later lines are not true any more."""
        ...


@final
class Recorder:
    def __init__(
        self,
        directory: Path | None,
        examples: int,
        epochs: float,
        label: str,
        quiet: bool,
        history: list[Row] | None = None,
        listener: Listener | None = None,
        has_loss: Callable[[], bool] = lambda: True,
    ) -> None:
        """`examples`: of an epoch. `label`: of this process, before each line. `history`: gets the lines of metrics.
        `has_loss`: whether the learner is known to compute a loss; until then, a sum of 0 is not taken for one."""
        self._listener = listener
        self._metrics = Metrics(directory, history)
        self._has_loss = has_loss
        self.writes = True  # whether this process is the one that writes
        self._examples, self._epochs = examples, epochs
        self._label, self._quiet = label, quiet
        self._bar = None if quiet else bar_for(sys.stderr, epochs * examples)
        self._written = dict.fromkeys(PARTS, 0.0)  # seconds by part, at the last line of metrics
        self._loss, self._seen = 0.0, 0  # sum over the examples since that line, and their number
        self._last_mark = 0
        self._recorded, self._before = 0, (0.0, 0)  # the last round, and loss and number before it
        self._spoke = time.perf_counter()
        self._warned = -LINE_SECONDS

    def round(self, progress: Progress, loss: float, examples: int, bytes_sent: int, stopwatch: Stopwatch) -> None:
        """After a round; `loss` is the sum over its examples. It is written at most every hundredth of an epoch and
        every thousandth of the run: by progress and not by the clock, so that repeated runs have the same lines."""
        self._recorded, self._before = progress.round, (self._loss, self._seen)
        self._loss += loss
        self._seen += examples
        mark = self._mark(progress.position)
        if mark == self._last_mark:
            return
        self._last_mark, seconds = mark, dict(stopwatch.seconds)
        if self.writes or self._metrics.history is not None:
            known = self._loss or self._has_loss()  # a resumed learner may not have been called yet
            mean = self._loss / self._seen if self._seen and known else None
            self._add(partial(_rounds_row, self._examples, progress, seconds, self._written, bytes_sent, mean))
            if mean is not None:
                self._show(progress, lambda: f"{self._epoch(progress)}, round {progress.round}, loss {mean:.4f}")
        self._written = seconds
        self._loss, self._seen = 0.0, 0

    def segment(self, progress: Progress, share: float) -> None:
        """After a segment in the middle of a round, of which `share` is done."""
        self._show(progress, lambda: f"{self._epoch(progress)}, round {progress.round}: {100 * share:.0f} % of it")

    def scores(self, progress: Progress, scores: dict[str, float], last: bool, stopwatch: Stopwatch) -> None:
        """After an evaluation; `last`: training ends here."""
        if self.writes or self._metrics.history is not None:
            self._add(partial(_row, self._examples, progress, dict(stopwatch.seconds), scores))
        if scores and (last or time.perf_counter() - self._spoke > SCORE_LINE_SECONDS):
            words = ", ".join(f"{name.replace('_', ' ')} {value:.4f}" for name, value in scores.items())
            self.say(f"{self._epoch(progress)}, {stopwatch.train_seconds:.1f} s: {words}")

    def say(self, text: str) -> None:
        if self.writes and not self._quiet:
            if self._bar:
                self._bar.clear()
            LOG.info("[%s] %s", self._label, text)
            self._spoke = time.perf_counter()

    def warn(self, text: str) -> None:
        """Say it, unless a warning was said a moment ago; the weights in the metrics show the others."""
        if time.perf_counter() - self._warned > LINE_SECONDS:
            self._warned = time.perf_counter()
            self.say(f"warning: {text}")

    def truncate(self, progress: Progress) -> None:
        """Forget what is later than `progress`, from which the run goes on: with the round that was recorded last, or
        the one before it, or from a checkpoint, whose state is restored afterwards."""
        if progress.round != self._recorded:
            self._loss, self._seen = self._before if progress.round == self._recorded - 1 else (0.0, 0)
            self._recorded, self._last_mark = progress.round, self._mark(progress.position)

        def stays(row: Row) -> bool:
            return row["round"] <= progress.round and ("weights" in row or row["examples"] <= progress.evaluated)

        examples = self._metrics.truncate(stays, self.writes)
        if self._listener and self.writes:
            self._listener.truncate(examples)

    def flush(self) -> None:
        """Write what is held back. StorageError if that fails; also to be called before other files of the run are
        written, since it notices that another run has taken its directory."""
        if self.writes:
            self._metrics.flush()

    def state(self) -> dict[str, Any]:
        """For a checkpoint: the losses since the last line of metrics."""
        return {"loss": self._loss, "seen": self._seen}

    def restore(self, state: dict[str, Any]) -> None:
        self._loss, self._seen, self._written = state["loss"], state["seen"], dict(state["seconds"])

    def close(self) -> None:
        if self._bar:
            self._bar.clear()
        self._metrics.close()

    def _add(self, row: Callable[[], Row]) -> None:
        self._metrics.add(row, self.writes)
        if self._listener and self.writes:
            self._listener.row(row)

    def _mark(self, position: int) -> int:
        return int(position * min(LINES_PER_EPOCH, LINES_PER_RUN / self._epochs) / self._examples)

    def _show(self, progress: Progress, text: Callable[[], str]) -> None:
        if self._quiet or not self.writes:
            return
        if self._bar:
            self._bar.show(progress.position / (self._epochs * self._examples), text())
        elif time.perf_counter() - self._spoke > LINE_SECONDS:
            self.say(text())

    def _epoch(self, progress: Progress) -> str:
        return f"epoch {progress.position / self._examples:.2f}/{self._epochs:g}"


def _row(examples: int, progress: Progress, seconds: dict[str, float], rest: Row) -> Row:
    head = {
        "round": progress.round,
        "epoch": round(progress.position / examples, 6),
        "examples": progress.position,
        "seconds": round(train_seconds(seconds), 6),
        "combinations": progress.combinations,
    }
    return head | rest


def _rounds_row(
    examples: int,
    progress: Progress,
    seconds: dict[str, float],
    before: dict[str, float],
    bytes_sent: int,
    loss: float | None,
) -> Row:
    """About the rounds since the line at which the seconds were `before`."""
    parts = {f"{part}_seconds": round(seconds[part] - before[part], 6) for part in TRAINING_PARTS}
    weights = [round(w, 9) for w in progress.last_weights]
    return _row(examples, progress, seconds, {**parts, "bytes": bytes_sent, "loss": loss, "weights": weights})
