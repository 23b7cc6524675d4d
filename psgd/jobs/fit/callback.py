"""The caller's function that is told how training goes, and may end it."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any, final

import numpy as np

from psgd.core.errors import UsageError
from psgd.learners.parameter_tree import ParameterTree
from psgd.training.loop import Loop
from psgd.training.metrics import Row
from psgd.training.recorder import Listener
from psgd.training.signals import CALLBACK_END, Signals

Function = Callable[["TrainingProgress"], Any]


@final
@dataclass(frozen=True)
class TrainingProgress:
    """What `callback` is given."""

    round: int
    epoch: float
    examples: int  # dealt since the start
    seconds: float  # of training
    loss: float | None  # mean over the examples since the last line of metrics with a loss; None if there is none yet
    scores: dict[str, float]  # of the last evaluation, such as test_loss
    _read: Callable[[], Any] = field(repr=False, compare=False)

    @property
    def parameters(self) -> Any:
        """A copy of the parameters of now, in the structure that was given. Only within the callback."""
        return self._read()


def call(function: Function, progress: TrainingProgress) -> bool:
    """Call it once, and return whether it wants to end the training. The parameters can be read until it returns.
    UsageError if it returns anything but a bool or None; exceptions of the function get a note that names the round.
    """
    now: TrainingProgress | None = progress

    def read() -> Any:
        if now is None:
            raise UsageError("progress.parameters are those of the moment: read them before callback returns")
        return now.parameters

    try:
        wants_end = function(replace(progress, _read=read))
        if not (wants_end is None or isinstance(wants_end, bool | np.bool_)):
            raise UsageError(f"callback returned {wants_end!r:.80}; it must return True to end the training, else None")
    except Exception as failure:
        failure.add_note(f"psgd.fit: in callback, round {progress.round}")
        raise
    finally:
        now = None  # what the function keeps of its progress holds no parameters
    return bool(wants_end)


@final
class Callback(Listener):
    """Calls the function on the first process, with each line of metrics. If it returns True, `signals` ask all
    processes to end the training."""

    def __init__(self, function: Function, structure: ParameterTree, signals: Signals) -> None:
        self._function, self._structure, self._signals = function, structure, signals
        self._loss: float | None = None
        self._loop: Loop | None = None

    def begin(self, loop: Loop, history: list[Row]) -> None:
        """Before any line. Of a run that goes on, with the lines `history`, tell the last one if training has not gone
        on since: a function that ended it there, and has not changed its mind, ends it again."""
        self._loop = loop
        lines = [row for row in history if _says_something(row, loop)]
        for row in lines:
            self._loss = row.get("loss", self._loss)
        if lines and lines[-1]["round"] == loop.replica.progress.round:
            self._tell(loop, lines[-1])

    def row(self, row: Callable[[], Row]) -> None:
        assert self._loop
        line = row()
        if _says_something(line, self._loop):
            self._tell(self._loop, line)

    def truncate(self, examples: int) -> None:
        pass

    def _tell(self, loop: Loop, row: Row) -> None:
        self._loss = self._loss if row.get("loss") is None else row["loss"]
        head = (row["round"], row["epoch"], row["examples"], row["seconds"], self._loss, dict(loop.scores))
        if call(self._function, TrainingProgress(*head, lambda: self._structure.copies(loop.replica.parameters))):
            self._signals.asked = self._signals.asked or CALLBACK_END


def _says_something(row: Row, loop: Loop) -> bool:
    """Whether a line is not that of an evaluation without a data set to evaluate."""
    return "weights" in row or bool(loop.scores)
