"""A deadline on every wait: when it passes, the job ends, and one process of the host reports who is missing.

Only time in which this process runs is counted: a job whose processes were all suspended for hours goes on.
"""

import threading
import time
from collections.abc import Callable
from typing import Self, final

from psgd.group.arrivals import Arrivals

TICK_SECONDS = 1.0
BUSY_SECONDS = 3.0  # a busy process may miss heartbeats for less than that
REPORTER_SECONDS = 3.0  # that the other processes leave to the one that reports


@final
class Watchdog:
    """Use as `with watchdog.arrive():` around a collective wait. Entering and leaving it cost a few stores; a thread
    looks about once a second."""

    def __init__(
        self,
        patience: float,
        expired: Callable[[str], object],
        arrivals: Arrivals,
        tick: Callable[[float], object] = lambda seconds: None,
    ) -> None:
        """`patience`: seconds that a wait may last; then `expired` is called with a message. `tick` is called about
        once a second, with the seconds that this process has run since the last time."""
        self.patience = patience
        self.allows_busy = False  # whether to wait without a deadline for processes that run, but have not arrived
        self._expired, self._tick, self.arrivals = expired, tick, arrivals
        self._wait = 0  # odd while in a wait
        self._closed = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="watchdog", daemon=True)
        try:
            self._thread.start()
        except BaseException:  # as of Ctrl-C, while it starts
            self._closed.set()
            raise

    def arrive(self) -> Self:
        """Note that this process has arrived at a wait at which all processes of its host arrive."""
        self.arrivals.arrive()
        return self

    def __enter__(self) -> None:
        self._wait += 1
        self.arrivals.set_waiting(True)

    def __exit__(self, *_: object) -> None:
        self._wait += 1
        self.arrivals.set_waiting(False)

    def close(self) -> None:
        """Afterwards the arrivals are not used any more."""
        self._closed.set()
        self._thread.join()

    def _watch(self) -> None:
        seen, waited, last = 0, 0.0, time.monotonic()
        while not self._closed.wait(interval := min(TICK_SECONDS, self.patience / 4)):
            now = time.monotonic()
            ran, last = min(now - last, 2 * interval), now  # more than that has passed if this process was suspended
            self.arrivals.beat()
            self._tick(ran)
            wait = self._wait
            if wait % 2 == 0 or wait != seen or self._others_are_busy():
                seen, waited = wait, 0.0
                continue
            waited += ran
            patience = max(self.patience, BUSY_SECONDS) if self.allows_busy else self.patience
            if waited > patience + (0.0 if self.arrivals.must_report else REPORTER_SECONDS):
                self._expired(self._message())
                return

    def _others_are_busy(self) -> bool:
        absent = self.arrivals.absent()
        return self.allows_busy and bool(absent) and all(map(self.arrivals.runs, absent))

    def _message(self) -> str:
        absent = self.arrivals.absent()
        numbers = ", ".join(str(self.arrivals.members[rank]) for rank in absent)
        who = f"process{'es' * (len(absent) > 1)} {numbers}" if absent else "another process"
        return (
            f"waited for {who}, which did not come to an exchange within {self.patience:g} s (see cluster.patience): "
            "it hangs, was stopped or is gone"
        )
