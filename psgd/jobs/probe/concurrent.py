"""Runs work in several processes at once, to measure how much they slow each other down and what exchanges cost.

The processes are forks that share a barrier in memory, as MPI processes on one host do.
"""

import mmap
import multiprocessing
import os
import statistics
import time
import timeit
from collections.abc import Callable
from multiprocessing.queues import SimpleQueue

import numpy as np

from psgd.group.spin_barrier import SpinBarrier, barrier_bytes

Barrier = Callable[[], None]  # returns when all processes have called it
ProcessWork = Callable[[Barrier], None]

PATIENCE = 10.0  # seconds beyond ten times the requested ones, after which a process is taken to hang


def run_concurrently(processes: int, work: ProcessWork, seconds: float) -> float | None:
    """Measure the median seconds of a call of `work`, which all processes repeat at the same time for about `seconds`.
    None if processes cannot be forked, or one failed."""
    if "fork" not in multiprocessing.get_all_start_methods():
        return None
    memory, results = mmap.mmap(-1, barrier_bytes(processes)), np.frombuffer(mmap.mmap(-1, 8 * processes), np.float64)
    context = multiprocessing.get_context("fork")
    calls: SimpleQueue[int] = context.SimpleQueue()
    children = [
        context.Process(target=_child, args=(process, processes, memory, calls, work, seconds, results), daemon=True)
        for process in range(processes)
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


def _child(
    process: int,
    processes: int,
    memory: mmap.mmap,
    calls: "SimpleQueue[int]",
    work: ProcessWork,
    seconds: float,
    results: np.ndarray,
) -> None:
    if hasattr(os, "sched_setaffinity"):  # forks may share a core for a while, which would be measured
        own = sorted(os.sched_getaffinity(0))
        os.sched_setaffinity(0, {own[process % len(own)]})
    until = time.monotonic() + processes * (PATIENCE + 10 * seconds)  # then the parent has given up

    def give_up() -> None:
        if time.monotonic() > until:
            os._exit(1)  # another process is gone

    barrier = SpinBarrier(memoryview(memory), process, processes, idle=give_up)
    timer = timeit.Timer(lambda: work(barrier.wait))
    timer.timeit(1)  # not counted: the first write to a page after the fork copies it
    barrier.wait()
    first = timer.timeit(1)
    # `work` may contain barriers, so all processes must call it equally often. Their number comes through a pipe: the
    # barrier's memory is not ordered on all processors, which does no harm where only times are measured.
    if process == 0:
        count = max(1, int(seconds / first))
        for _ in range(processes - 1):
            calls.put(count)
    else:
        count = calls.get()
    results[process] = statistics.median([first, *timer.repeat(count - 1, 1)])
