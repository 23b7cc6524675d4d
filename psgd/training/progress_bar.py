"""A progress bar, on a terminal only: under a launcher, in a file or in CI there are lines instead."""

import os
import shutil
import time
from typing import TextIO, final

WIDTH = 30
SHOW_EVERY = 0.1  # seconds


@final
class Bar:
    """One line that is written over and over."""

    def __init__(self, terminal: TextIO) -> None:
        self._terminal = terminal
        self._shown = 0.0
        self._length = 0

    def show(self, done: float, text: str) -> None:
        now = time.monotonic()
        if now - self._shown < SHOW_EVERY:
            return
        self._shown = now
        full = round(WIDTH * min(1.0, done))
        line = f"[{'#' * full}{'.' * (WIDTH - full)}] {text}"[: shutil.get_terminal_size().columns - 1]
        self._terminal.write("\r" + line.ljust(self._length))
        self._terminal.flush()
        self._length = len(line)

    def clear(self) -> None:
        """Before something else is written."""
        if self._length:
            self._terminal.write("\r" + " " * self._length + "\r")
            self._terminal.flush()
            self._length = 0


def bar_for(stream: TextIO) -> Bar | None:
    live = stream.isatty() and not os.environ.get("CI") and os.environ.get("TERM") != "dumb"
    return Bar(stream) if live else None
