"""Work done by several processes at once, to see how much they slow each other down and what their meetings cost.

The processes are forks that share memory and meet there, as MPI's processes on one host do.
"""

import mmap
import multiprocessing
import os
import statistics
import time
from collections.abc import Callable

import numpy as np

from psgd.group.spin_barrier import SpinBarrier, shared_bytes

Meet = Callable[[], None]  # returns when all processes have called it
Work = Callable[[Meet], None]

PATIENCE = 10.0  # seconds, beyond ten times those asked for, after which somebody must be gone


def run_concurrently(processes: int, work: Work, seconds: float) -> float | None:
    """Seconds of one call of `work`, called again and again for about `seconds` by each of the processes at once; None
    where processes cannot be forked, or one failed."""
    if "fork" not in multiprocessing.get_all_start_methods():
        return None
    memory, results = mmap.mmap(-1, shared_bytes(processes)), np.frombuffer(mmap.mmap(-1, 8 * processes), np.float64)
    context = multiprocessing.get_context("fork")
    children = [
        context.Process(target=_child, args=(rank, processes, memory, work, seconds, results), daemon=True)
        for rank in range(processes)
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


def _child(rank: int, processes: int, memory: mmap.mmap, work: Work, seconds: float, results: np.ndarray) -> None:
    until = time.monotonic() + processes * (PATIENCE + 10 * seconds)  # nobody is joined for longer

    def give_up() -> None:
        if time.monotonic() > until:
            os._exit(1)  # one of the others is gone

    barrier = SpinBarrier(memoryview(memory), rank, processes, idle=give_up)
    work(barrier.wait)  # makes this process's own copies of what it writes to
    began = time.perf_counter()
    barrier.wait()
    work(barrier.wait)
    calls = max(1, int(seconds / (time.perf_counter() - began)))
    # They meet within the work: all must do it equally often.
    calls = int.from_bytes(barrier.all_gather(calls.to_bytes(8))[0])
    times = []
    for _ in range(calls):
        began = time.perf_counter()
        work(barrier.wait)
        times.append(time.perf_counter() - began)
    results[rank] = statistics.median(times)
