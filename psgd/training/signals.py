"""Signals that ask a run to stop. A handler only takes note; all processes stop after the next exchange of reports."""

import gc
import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import NoReturn, final

from psgd.core.errors import INTERRUPTED, STOPPED, PsgdError

_NAMES = ("SIGINT", "SIGUSR1", "SIGHUP", "SIGTERM")  # in this order: once SIGTERM has a handler, all have
CALLBACK_END = 1 << 16  # no signal: the caller's callback asks to end the training here, as if it had reached its end


@final
class Signals:
    """The first signal asks to stop; a second Ctrl-C leaves at once, without a checkpoint."""

    def __init__(self) -> None:
        self.asked = 0  # the number of the first signal, CALLBACK_END, or 0
        self._leave_at_once = False
        self._within_program = False

    def listen(self, leave_at_once: bool = False) -> None:
        """Install the handlers; in other threads than the main one, do nothing. `leave_at_once`: exit on the first
        signal, while there is nothing to save and no other process waits."""
        self._leave_at_once = leave_at_once
        if threading.current_thread() is not threading.main_thread():
            return
        for number in heeded_signals():
            signal.signal(number, self._note)

    @contextmanager
    def listening(self) -> Iterator[None]:
        """Listen within the block, in somebody's program: its handlers are restored and get a signal that came too late
        to be obeyed; a second Ctrl-C raises KeyboardInterrupt. In threads other than the main one, which cannot have
        handlers, nothing is done."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        before = {number: signal.getsignal(number) for number in _numbers()}
        self._within_program = True
        self.listen()
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, signal.SIG_DFL if handler is None else handler)  # None: not one of Python's
        if self.asked not in (0, CALLBACK_END):
            signal.raise_signal(self.asked)

    def forget_callback(self) -> None:
        """Take back that the callback asked to end the training."""
        if self.asked == CALLBACK_END:
            self.asked = 0

    def _note(self, number: int, _frame: object) -> None:
        if self._leave_at_once:
            with suppress(OSError):
                os.write(2, b"psgd: stopped before training began\n")
            os._exit(exit_code_of(number))  # an exception could be swallowed by whatever runs just now
        if number == signal.SIGINT and self.asked == signal.SIGINT:
            if self._within_program:
                raise KeyboardInterrupt
            os._exit(INTERRUPTED)
        if self.asked in (0, CALLBACK_END):
            self.asked = number


def leave(code: int) -> NoReturn:
    """End the process with this exit code. A signal does not change it any more, but for Ctrl-C: the interpreter's own
    handlers would."""
    for number in _numbers():
        if number != signal.SIGINT:
            signal.signal(number, signal.SIG_IGN)
    gc.freeze()  # no last search for garbage, which would take a tenth of the time of a short command
    sys.exit(code)


def _numbers() -> list[signal.Signals]:
    return [getattr(signal, name) for name in _NAMES if hasattr(signal, name)]


def heeded_signals() -> list[signal.Signals]:
    """The signals that ask to stop. SIGHUP is none where it is ignored, as under nohup."""
    hangup, ignored = getattr(signal, "SIGHUP", None), signal.SIG_IGN
    return [number for number in _numbers() if number != hangup or signal.getsignal(number) is not ignored]


def exit_code_of(number: int) -> int:
    """The exit code of a run, or of a comparison, that this signal stopped."""
    return INTERRUPTED if number == signal.SIGINT else STOPPED


class Stopped(PsgdError):
    """A signal asked to stop; a checkpoint was saved if there is a place for one."""

    def __init__(self, number: int, where: Path | None) -> None:
        super().__init__(
            f"stopped by signal {number}" + (f"; continue with --resume --output {where}" if where else "")
        )
        self.number, self.where, self.code = number, where, exit_code_of(number)

    def __reduce__(self) -> tuple[type["Stopped"], tuple[int, Path | None]]:
        return Stopped, (self.number, self.where)
