"""A spin barrier and an all-gather in memory that the processes of a host share.

Each process writes the number of the barrier it has reached and reads the others' until they have reached it too. In
Python that takes a few microseconds; a message-passing library takes a dozen and more, most of them because its code
has left the caches since the last call.

A process that waits yields its core now and then: where there are fewer cores than processes, the one that it waits for
may need it. Where other programs run, too, a yield may hand them the core for a whole time slice, while a process that
sleeps gets it back soon. So after a number of yields it sleeps. The number adapts: half as many after a long wait,
which yields did not end or have themselves made long; twice as many after several short waits in a row, which a sleep
makes longer.
"""

import os
import time
from collections.abc import Callable
from typing import final

CACHE_LINE_BYTES = 64  # a process's counter has a cache line of its own, so that writes do not slow the others' reads
MAX_ROW_BYTES = 4096  # of one process's row in an all-gather
POLLS = 64  # in a row, some 3 microseconds, before a process yields its core
MOST_YIELDS = 256  # some 0.9 milliseconds, on a machine with nothing else to do
IDLE_EVERY = 16  # yields after which `idle` is called, which may take as long as many polls
LONG_SECONDS = 5e-4  # of a wait, to which a sleep adds little
SHORT_WAITS = 16  # in a row; raised, it takes more time until a core that others have left is used
NAP_SECONDS = 1e-6  # asked for; Linux makes some 60 microseconds of it


def barrier_bytes(processes: int) -> int:
    return processes * (CACHE_LINE_BYTES + 2 * MAX_ROW_BYTES)


def _nothing() -> None:
    pass


@final
class SpinBarrier:
    """One process's end. All processes make the same calls in the same order. For processors whose cores see stores of
    another core in the order in which they were made: nothing else orders them here."""

    def __init__(
        self,
        memory: memoryview,
        rank: int,
        processes: int,
        idle: Callable[[], object] = _nothing,
    ) -> None:
        """`memory`: `barrier_bytes(processes)` bytes, initially 0. `idle` is called now and then in a long wait."""
        counters = processes * CACHE_LINE_BYTES
        self._counters, self._rows = memory[:counters].cast("q"), memory[counters:]
        step = CACHE_LINE_BYTES // 8
        self._own, self._others = rank * step, [other * step for other in range(processes) if other != rank]
        # Two rows a process, used alternately: nobody writes to one again before all have read it.
        self._starts = [[(2 * p + odd) * MAX_ROW_BYTES for p in range(processes)] for odd in range(2)]
        self.processes, self._rank, self._count = processes, rank, 0
        self._idle, self._yields, self._short_waits = idle, MOST_YIELDS, 0

    def all_gather(self, row: bytes) -> list[bytes]:
        """Everyone's row, of equal length, at most MAX_ROW_BYTES, in order of ranks."""
        rows, size, starts = self._rows, len(row), self._starts[self._count % 2]
        start = starts[self._rank]
        rows[start : start + size] = row
        self.wait()
        return [bytes(rows[start : start + size]) for start in starts]

    def wait(self) -> None:
        """Return when all processes have called it; what they wrote to shared memory before is visible then."""
        self._count = count = self._count + 1
        counters = self._counters
        counters[self._own] = count
        for other in self._others:
            if counters[other] < count:
                self._spin(other, count)

    def _spin(self, other: int, count: int) -> None:
        began = time.perf_counter()
        self._wait_for(other, count)
        if time.perf_counter() - began > LONG_SECONDS:
            self._yields, self._short_waits = max(1, self._yields // 2), 0
            return
        self._short_waits += 1
        if self._short_waits == SHORT_WAITS:
            self._yields, self._short_waits = min(2 * self._yields, MOST_YIELDS), 0

    def _wait_for(self, other: int, count: int) -> None:
        counters = self._counters
        for number in range(1, self._yields + 1):
            for _ in range(POLLS):
                if counters[other] >= count:
                    return
            os.sched_yield()
            if number % IDLE_EVERY == 0:
                self._idle()
        while counters[other] < count:
            self._idle()
            time.sleep(NAP_SECONDS)
