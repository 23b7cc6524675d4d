"""The transport of threads in one process. BLAS and numpy release the interpreter's lock where the work is."""

import math
import queue
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any, NoReturn, TypeVar, final

import numpy as np

from psgd.core.errors import ProcessLost, UsageError
from psgd.group.arrivals import Arrivals, table_bytes
from psgd.group.watchdog import Watchdog

T = TypeVar("T")

WAKE_SECONDS = 0.2  # of the main thread; raised, a signal that it slept through is heard later


@final
class SharedState:
    """What the threads have in common: a barrier, tables of rows, and named memory."""

    def __init__(self, processes: int, patience: float) -> None:
        self.processes = processes
        self.rows: list[list[bytes]] = [[b""] * processes for _ in range(2)]
        self.memory: dict[str, memoryview] = {}
        self.lock = threading.Lock()
        self.arrivals = memoryview(bytearray(table_bytes(processes)))
        self.patience = patience
        self.lost: ProcessLost | None = None  # because a thread did not arrive at a wait
        self.exit_code: int | None = None  # of a thread that ended the job
        self._complete = 0  # waits at which all threads have arrived
        self._barrier = threading.Barrier(processes, self._count)

    def _count(self) -> None:
        self._complete += 1

    def wait(self, number: int) -> None:
        """Wait for all threads; `number`: the caller's waits, this one included. ProcessLost if one ended; SystemExit
        if the job was ended."""
        try:
            self._barrier.wait()
        except threading.BrokenBarrierError:
            if self._complete >= number:
                return  # all had arrived: another thread has left this wait and ended before this one woke up
            if self.exit_code is not None:
                raise SystemExit(self.exit_code) from None  # silently: the reason is said elsewhere
            raise ProcessLost("a thread ended") from None

    def end(self, code: int) -> None:
        """End the waits of all threads."""
        self.exit_code = code
        self.break_barrier()

    def expire(self, message: str) -> None:
        self.lost = ProcessLost(message)
        self.end(ProcessLost.code)

    def break_barrier(self) -> None:
        self._barrier.abort()


@final
class Threads:
    kind = "threads"
    recovers = False

    def __init__(self, process: int, shared: SharedState) -> None:
        self.process = process
        self.members: Sequence[int] = range(shared.processes)
        self.hosts: Sequence[int] = [0] * shared.processes
        self._shared = shared
        self._table = self._waits = 0
        self._watchdog = Watchdog(shared.patience, shared.expire, Arrivals(shared.arrivals, self.members, process))

    def all_gather(self, row: bytes) -> list[bytes]:
        # Two tables, used alternately, need one barrier only: nobody writes to a table again before everybody has left
        # the exchange in which it was read.
        self._table ^= 1
        rows = self._shared.rows[self._table]
        rows[self.process] = row
        self.barrier()
        return list(rows)

    def memory(self, name: str, size: int) -> memoryview:
        with self._shared.lock:
            return self._shared.memory.setdefault(name, memoryview(bytearray(size)))

    def barrier(self) -> None:
        self._waits += 1
        with self._watchdog.arrive():
            self._shared.wait(self._waits)

    def exchange_between_hosts(self, parts: Sequence[np.ndarray]) -> None:
        raise AssertionError("threads are one host")

    def recover(self) -> None:
        raise ProcessLost("a thread cannot be lost and the others go on")

    def confirm_end(self) -> None:
        pass

    def abort(self, code: int) -> NoReturn:
        self._shared.end(code)
        raise SystemExit(code)

    def close(self) -> None:
        self._watchdog.close()


def run_threads(processes: int, patience: float, main: Callable[[Threads], T]) -> list[T]:
    """Run `main(transport)` in each of `processes` threads and return their results. The first exception is raised
    here. `patience`: seconds that a thread waits for the others; ProcessLost if one hangs, which is left behind."""
    shared = SharedState(processes, patience)
    results: list[Any] = [None] * processes
    failures: list[BaseException] = []
    ended: queue.SimpleQueue[int] = queue.SimpleQueue()

    def body(transport: Threads) -> None:
        try:
            results[transport.process] = main(transport)
        except BaseException as failure:  # raised again in the caller's thread; the others must not wait for this one
            failures.append(failure)
            shared.break_barrier()
        finally:
            transport.close()
            ended.put(transport.process)

    transports: list[Threads] = []
    try:
        for process in range(processes):
            transports.append(Threads(process, shared))
            threading.Thread(target=body, args=transports[-1:], name=f"process {process}", daemon=True).start()
    except BaseException as failure:  # also Ctrl-C: the threads that have started must not wait for the others
        shared.break_barrier()
        for transport in transports:
            transport.close()
        if not isinstance(failure, RuntimeError):
            raise
        raise UsageError(
            f"cluster.processes is {processes}, but the system lets psgd start no more than {process} threads"
        ) from None
    for _ in range(processes):
        # When a process fails, the others end at their next wait; a process that hangs never comes to one.
        _wait(ended, patience if failures else math.inf)
    shared.memory.clear()  # at once: the barrier refers to `shared`, which only a search for garbage frees
    if shared.lost:
        raise shared.lost
    if failures:
        raise next((f for f in failures if not isinstance(f, ProcessLost)), failures[0])
    return results


def _wait(ended: "queue.SimpleQueue[int]", seconds: float) -> None:
    """Wait for the end of a thread, so long at most. The main thread wakes up now and then: a signal that came just
    before it fell asleep, or to another thread, has its handler called only then."""
    deadline = time.monotonic() + seconds
    while (left := deadline - time.monotonic()) > 0:
        with suppress(queue.Empty):
            ended.get(timeout=min(WAKE_SECONDS, left))
            return
