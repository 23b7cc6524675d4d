"""Work done by several processes at once, to see how much they slow each other down and what their meetings cost.

The processes are forks that share a page of memory and meet by watching it, as MPI's processes on one host do.
"""

import mmap
import multiprocessing
import os
import statistics
import time
from collections.abc import Callable
from typing import final

import numpy as np

Meet = Callable[[], None]  # returns when all processes have called it
Work = Callable[[Meet], None]

SEAT = 64  # bytes from one process's seat to the next: a cache line each
PATIENCE = 10.0  # seconds that one process waits for the others


def abreast(processes: int, work: Work, seconds: float) -> float | None:
    """Seconds of one call of `work`, called again and again for about `seconds` by each of the processes at once; None
    where processes cannot be forked, or one failed."""
    if "fork" not in multiprocessing.get_all_start_methods():
        return None
    page = memoryview(mmap.mmap(-1, SEAT * processes)).cast("q")  # whose elements Python reads faster than an array's
    results = np.frombuffer(mmap.mmap(-1, 8 * processes), np.float64)
    context = multiprocessing.get_context("fork")
    children = [
        context.Process(target=_child, args=(_Meeting(seat, processes, page), work, seconds, results), daemon=True)
        for seat in range(processes)
    ]
    try:
        for child in children:
            child.start()
        for child in children:
            child.join(PATIENCE + 10 * seconds)
    finally:
        for child in children:
            child.kill()
            child.join()
    if any(child.exitcode for child in children):
        return None
    return float(np.median(results))


def _child(meet: "_Meeting", work: Work, seconds: float, results: np.ndarray) -> None:
    work(meet)  # makes this process's own copies of what it writes to
    began = time.perf_counter()
    meet()
    work(meet)
    calls = max(1, int(seconds / (time.perf_counter() - began)))
    calls = meet.agree(calls)  # they meet within the work: all must do it equally often
    times = []
    for _ in range(calls):
        began = time.perf_counter()
        work(meet)
        times.append(time.perf_counter() - began)
    results[meet.seat] = statistics.median(times)


@final
class _Meeting:
    """Nobody leaves before all have come."""

    def __init__(self, seat: int, processes: int, page: memoryview) -> None:
        self.seat = seat
        self._page, self._mine, self._turn = page, seat * SEAT // 8, 0
        self._others = [other * SEAT // 8 for other in range(processes) if other != seat]

    def __call__(self) -> None:
        self._turn += 1
        self._page[self._mine] = self._turn
        for other in self._others:
            looks = 0
            while self._page[other] < self._turn:
                looks += 1
                if looks % 100 == 0:
                    os.sched_yield()  # to whoever is late, if there are fewer cores than processes
                    self._check(looks)

    def agree(self, number: int) -> int:
        """The first process's number."""
        self._page[self._mine + 1] = number
        self()
        return int(self._page[1])

    def _check(self, looks: int) -> None:
        if looks == 100:
            self._until = time.monotonic() + PATIENCE
        elif time.monotonic() > self._until:
            os._exit(1)  # one of the others is gone
