"""A deadline on every wait: when it passes, the job ends, and one process of the host says who has not come.

Only time in which this process runs is counted: a job whose processes were all suspended for hours goes on.
"""

import threading
import time
from collections.abc import Callable
from typing import Self, final

from psgd.group.attendance import Attendance

TICK_SECONDS = 1.0
BUSY_SECONDS = 3.0  # a process that is busy may appear to stand still for less than that
SPEAKER_SECONDS = 3.0  # that the other processes leave to the one that speaks


@final
class Watchdog:
    """Use as `with watchdog.come():` around a collective wait. Entering and leaving it cost a few stores; a thread
    looks about once a second."""

    def __init__(
        self,
        patience: float,
        expired: Callable[[str], object],
        attendance: Attendance,
        tick: Callable[[float], object] = lambda seconds: None,
    ) -> None:
        """`patience`: seconds that a wait may last; then `expired` is called with a message. `tick` is called about
        once a second, with the seconds that this process has run since the last time."""
        self.patience = patience
        self.allows_busy = False  # whether to wait without a deadline for processes that run, but have not come
        self._expired, self._tick, self.attendance = expired, tick, attendance
        self._wait = 0  # odd while in a wait
        self._closed = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="watchdog", daemon=True)
        self._thread.start()

    def come(self) -> Self:
        """Note that this process has come to a wait to which all processes of its host come."""
        self.attendance.come()
        return self

    def __enter__(self) -> None:
        self._wait += 1
        self.attendance.wait(True)

    def __exit__(self, *_: object) -> None:
        self._wait += 1
        self.attendance.wait(False)

    def close(self) -> None:
        """Afterwards the attendance is not used any more."""
        self._closed.set()
        self._thread.join()

    def _watch(self) -> None:
        seen, waited, last = 0, 0.0, time.monotonic()
        while not self._closed.wait(tick := min(TICK_SECONDS, self.patience / 4)):
            now = time.monotonic()
            ran, last = min(now - last, 2 * tick), now  # more than that has passed if this process was suspended
            self.attendance.look()
            self._tick(ran)
            wait = self._wait
            if wait % 2 == 0 or wait != seen or self._others_are_busy():
                seen, waited = wait, 0.0
                continue
            waited += ran
            patience = max(self.patience, BUSY_SECONDS) if self.allows_busy else self.patience
            if waited > patience + (0.0 if self.attendance.speaks else SPEAKER_SECONDS):
                self._expired(self._message())
                return

    def _others_are_busy(self) -> bool:
        absent = self.attendance.absent()
        return self.allows_busy and bool(absent) and all(map(self.attendance.runs, absent))

    def _message(self) -> str:
        absent = self.attendance.absent()
        numbers = ", ".join(str(self.attendance.members[rank]) for rank in absent)
        who = f"process{'es' * (len(absent) > 1)} {numbers}" if absent else "another process"
        return (
            f"waited for {who}, which did not come to an exchange within {self.patience:g} s (see cluster.patience): "
            "it hangs, was stopped or is gone"
        )
