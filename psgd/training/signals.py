"""Signals that ask a run to stop. A handler only takes note; all processes stop after the next exchange of reports."""

import os
import signal
import threading
from contextlib import suppress
from pathlib import Path
from typing import Any, final

from psgd.core.errors import INTERRUPTED, STOPPED, PsgdError

_NAMES = ("SIGTERM", "SIGUSR1", "SIGINT", "SIGHUP")


@final
class Signals:
    """The first signal asks to stop; a second Ctrl-C leaves at once, without a checkpoint.

    `guest`: within a program that goes on afterwards. A second Ctrl-C raises KeyboardInterrupt, `restore` gives the
    program its handlers back, and outside its main thread, where handlers cannot be installed, there are none."""

    def __init__(self, guest: bool = False) -> None:
        self.asked = 0  # the number of the first signal, or 0
        self._leave_at_once, self._guest = False, guest
        self._before: dict[signal.Signals, Any] = {}  # the program's handlers

    def listen(self, leave_at_once: bool = False) -> None:
        """Install the handlers; only the main thread may. `leave_at_once`: exit on the first signal, while there is
        nothing to save and no other process waits for this one. SIGHUP stays ignored under nohup."""
        self._leave_at_once = leave_at_once
        if self._guest and threading.current_thread() is not threading.main_thread():
            return
        for number in _numbers():
            before = signal.getsignal(number)
            if self._guest and before is None:  # not Python's, so that it could not be restored
                continue
            if number != getattr(signal, "SIGHUP", None) or before is not signal.SIG_IGN:
                self._before.setdefault(number, before)
                signal.signal(number, self._note)

    def restore(self) -> None:
        """Install the handlers that were there before the first call of `listen`."""
        for number, handler in self._before.items():
            signal.signal(number, handler)
        self._before.clear()

    def _note(self, number: int, _frame: object) -> None:
        if self._leave_at_once:
            with suppress(OSError):
                os.write(2, b"psgd: stopped before training began\n")
            os._exit(exit_code(number))  # an exception could be swallowed by whatever runs just now
        if number == signal.SIGINT and self.asked == signal.SIGINT:
            if self._guest:
                raise KeyboardInterrupt
            os._exit(INTERRUPTED)
        self.asked = self.asked or number


def ignore() -> None:
    """Ignore the signals from now on, but for Ctrl-C: the interpreter's own handlers would end it with another code."""
    for number in _numbers():
        if number != signal.SIGINT:
            signal.signal(number, signal.SIG_IGN)


def _numbers() -> list[signal.Signals]:
    return [getattr(signal, name) for name in _NAMES if hasattr(signal, name)]


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
        self.number, self.where = number, where

    def __reduce__(self) -> tuple[type["Stopped"], tuple[int, Path | None]]:
        return Stopped, (self.number, self.where)
