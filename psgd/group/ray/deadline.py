"""Deadlines on waits for Ray that nothing can interrupt: when one passes, this process says why and ends."""

import os
import threading
from collections.abc import Callable
from types import TracebackType
from typing import NoReturn, final

from psgd.core.errors import ProcessLost
from psgd.core.log import LOG

POLL_SECONDS = 1.0  # between two checks of whether a wait is over


@final
class Deadline:
    """Use as `with Deadline(seconds, act):` around a wait; a thread calls `act` if it lasts longer. It counts its
    own polls instead of reading a clock, so that time in which this process was suspended does not count."""

    def __init__(self, seconds: float, act: Callable[[], object]) -> None:
        self._polls, self._act = max(1, round(seconds / POLL_SECONDS)), act
        self._over = threading.Event()

    def __enter__(self) -> None:
        threading.Thread(target=self._count, name="deadline", daemon=True).start()

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._over.set()

    def _count(self) -> None:
        for _ in range(self._polls):
            if self._over.wait(POLL_SECONDS):
                return
        self._act()


def end_process(reason: str) -> NoReturn:
    """Print why, and end this process with the code of a lost process. Nothing is cleaned up: without its control
    plane, Ray's shutdown waits for ever."""
    LOG.error("psgd: %s", reason)
    os._exit(ProcessLost.code)
