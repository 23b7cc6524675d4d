"""A progress bar on a terminal or in a notebook. Elsewhere there are lines instead."""

import os
import sys
import time
from contextlib import suppress
from importlib.util import find_spec
from typing import TextIO, final

from psgd.core.launcher import launched

REDRAW_SECONDS = 0.1  # between two drawings; raised, the bar costs less and moves in larger steps


@final
class ProgressBar:
    """One line that rich redraws in place: the bar, the time left, the rate and a text.

    Whatever is printed meanwhile appears above it. No thread redraws it: only calls of `show` do.
    """

    def __init__(self, stream: TextIO, examples: float | None, notebook: bool) -> None:
        from rich.console import Console  # lazily: it takes long to import
        from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn
        from rich.table import Column

        rest = Column(ratio=1, no_wrap=True)  # the width that the others leave
        self._progress = Progress(
            BarColumn(30),
            TextColumn("{task.percentage:.0f} %"),
            TimeRemainingColumn(),
            TextColumn("{task.fields[rate]}{task.fields[text]}", markup=False, table_column=rest),
            expand=True,
            console=Console(file=stream, force_terminal=None if notebook else True),
            auto_refresh=False,
            transient=True,
            redirect_stdout=not notebook and _is_terminal(sys.stdout),  # lines for a file must not go to the terminal
            redirect_stderr=not notebook,
        )
        self._task = self._progress.add_task("", total=1.0, rate="", text="")
        self._examples, self._notebook = examples, notebook
        self._drawn = -REDRAW_SECONDS

    def show(self, done: float, text: str) -> None:
        """Fill the fraction `done` of the bar. Draws nothing if it was drawn less than REDRAW_SECONDS ago."""
        self._progress.update(self._task, completed=done, text=text)
        now = time.monotonic()
        if now - self._drawn < REDRAW_SECONDS:
            return
        self._drawn = now
        speed = self._progress.tasks[0].speed  # fractions per second, over the last 30 s
        if speed and self._examples:
            self._progress.update(self._task, rate=f"{speed * self._examples:,.0f} examples/s, ")
        with suppress(OSError):  # the terminal may go away, and training goes on
            self._progress.start()
            self._progress.console.show_cursor()  # rich hides it, and a process that is killed would leave it hidden
            self._progress.refresh()

    def clear(self) -> None:
        """Remove the bar, until the next call of `show`. A notebook keeps it: lines have their own place there."""
        with suppress(OSError):
            if not self._notebook:
                self._progress.stop()
            elif self._progress.live.is_started:
                self._progress.refresh()


def bar_for(stream: TextIO | None, examples: float | None = None) -> ProgressBar | None:
    """Return a bar on `stream`, or None where there should be none: in CI, under an MPI launcher, on a dumb terminal,
    and where `stream` is neither a terminal nor the output of a notebook that has ipywidgets.

    `examples` is how many the whole training works on; where given, the bar shows examples per second.
    """
    if os.environ.get("CI") or os.environ.get("TERM") in ("dumb", "unknown") or launched():
        return None
    notebook = type(stream).__module__ == "ipykernel.iostream"
    if stream is None or not (find_spec("ipywidgets") if notebook else _is_terminal(stream)):
        return None
    return ProgressBar(stream, examples, notebook)


def _is_terminal(stream: object) -> bool:
    isatty = getattr(stream, "isatty", None)  # a program may replace stderr by an object that has none
    return bool(isatty and isatty())
