"""Signals that ask a run to stop. A handler only takes note; all processes stop after the next exchange of reports."""

import os
import signal
import sys
from pathlib import Path
from typing import final

from psgd.core.errors import INTERRUPTED, STOPPED, PsgdError

_NAMES = ("SIGTERM", "SIGUSR1", "SIGINT")


@final
class Signals:
    """The first signal asks to stop; a second Ctrl-C leaves at once, without a checkpoint."""

    def __init__(self) -> None:
        self.asked = 0  # the number of the first signal, or 0
        self._leave_at_once = False

    def listen(self, leave_at_once: bool = False) -> None:
        """Install the handlers; only the main thread may. `leave_at_once`: exit on the first signal, while there is
        nothing to save and no other process waits for this one."""
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
    """The exit code of a run that this signal stopped."""
    return INTERRUPTED if number == signal.SIGINT else STOPPED


class Stopped(PsgdError):
    """A signal asked to stop; a checkpoint was saved if there is a place for one."""

    def __init__(self, number: int, where: Path | None) -> None:
        super().__init__(
            f"stopped by signal {number}" + (f"; continue with --resume --output {where}" if where else "")
        )
        self.code = exit_code(number)
