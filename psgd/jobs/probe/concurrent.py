"""Runs work in several processes at once, to measure how much they slow each other down and what exchanges cost.

The processes are forks with a barrier in shared memory, as MPI processes on one host have.
"""

import mmap
import multiprocessing
import os
import statistics
import time
from collections.abc import Callable

import numpy as np

from psgd.group.spin_barrier import SpinBarrier, shared_bytes

Barrier = Callable[[], None]  # returns when all processes have called it
Work = Callable[[Barrier], None]

PATIENCE = 10.0  # a process hangs if it takes so many seconds longer than ten times those asked for


def run_concurrently(processes: int, work: Work, seconds: float) -> float | None:
    """The median seconds of a call of `work`, which all processes repeat for about `seconds` at the same time. None if
    processes cannot be forked, or one failed."""
    if "fork" not in multiprocessing.get_all_start_methods():
        return None
    memory, results = mmap.mmap(-1, shared_bytes(processes)), np.frombuffer(mmap.mmap(-1, 8 * processes), np.float64)
    context = multiprocessing.get_context("fork")
    children = [
        context.Process(target=_child, args=(process, processes, memory, work, seconds, results), daemon=True)
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


def _child(process: int, processes: int, memory: mmap.mmap, work: Work, seconds: float, results: np.ndarray) -> None:
    until = time.monotonic() + processes * (PATIENCE + 10 * seconds)  # the parent waits no longer

    def give_up() -> None:
        if time.monotonic() > until:
            os._exit(1)  # another process is gone

    barrier = SpinBarrier(memoryview(memory), process, processes, idle=give_up)
    work(barrier.wait)  # once before timing: copies the pages that it writes to, after the fork
    began = time.perf_counter()
    barrier.wait()
    work(barrier.wait)
    calls = max(1, int(seconds / (time.perf_counter() - began)))
    # There may be barriers in the work: all processes must call it equally often.
    calls = int.from_bytes(barrier.all_gather(calls.to_bytes(8))[0])
    times = []
    for _ in range(calls):
        began = time.perf_counter()
        work(barrier.wait)
        times.append(time.perf_counter() - began)
    results[process] = statistics.median(times)
