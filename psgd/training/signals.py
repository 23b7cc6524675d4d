"""Signals that ask for an end. A handler only takes note; the processes agree at their next meeting."""

import os
import signal
import sys
from typing import final

from psgd.core.errors import INTERRUPTED, STOPPED

_NAMES = ("SIGTERM", "SIGUSR1", "SIGINT")


@final
class Signals:
    """The first asks; a second Ctrl-C leaves at once, without a checkpoint."""

    def __init__(self) -> None:
        self.asked = 0  # the number of the signal that came first, or 0
        self._leave_at_once = False

    @property
    def code(self) -> int:
        """The exit code of a run that was asked to stop."""
        return exit_code(self.asked)

    def listen(self, leave_at_once: bool = False) -> None:
        """From now on. Only a process's main thread may. `leave_at_once`: nothing has begun that could be saved, and
        nobody else waits for this process."""
        self._leave_at_once = leave_at_once
        for name in _NAMES:
            signal.signal(getattr(signal, name), self._note)

    def _note(self, number: int, _frame: object) -> None:
        if self._leave_at_once:
            os.write(2, b"psgd: stopped before training began\n")
            sys.exit(exit_code(number))
        if number == signal.SIGINT and self.asked == signal.SIGINT:
            os._exit(INTERRUPTED)
        self.asked = self.asked or number


def exit_code(number: int) -> int:
    """For a run that a signal ended after a checkpoint was saved."""
    return INTERRUPTED if number == signal.SIGINT else STOPPED
