"""The transport of threads in one process. BLAS and numpy release the interpreter's lock where the work is."""

import threading
from collections.abc import Callable, Sequence
from typing import Any, NoReturn, final

import numpy as np

from psgd.core.errors import ProcessLost


@final
class SharedState:
    """What the threads have in common: a barrier, tables of rows, and named memory."""

    def __init__(self, processes: int, patience: float) -> None:
        self.processes = processes
        self.rows: list[list[bytes]] = [[b""] * processes for _ in range(2)]
        self.memory: dict[str, memoryview] = {}
        self.lock = threading.Lock()
        self.exit_code: int | None = None  # of a thread that ended the job
        self._barrier = threading.Barrier(processes)
        self._patience = patience

    def wait(self) -> None:
        """Wait for all threads. ProcessLost if one ended or did not come in time; SystemExit if one ended the job."""
        if self.processes == 1:
            return
        try:
            self._barrier.wait(self._patience)
        except threading.BrokenBarrierError:
            if self.exit_code is not None:
                raise SystemExit(self.exit_code) from None  # silently: that thread has printed the reason
            raise ProcessLost(f"a thread ended, or did not come to an exchange within {self._patience:g} s") from None

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
        self._table = 0

    def all_gather(self, row: bytes) -> list[bytes]:
        # Two tables, used alternately, need one barrier only: nobody writes to a table again before everybody has left
        # the exchange in which it was read.
        self._table ^= 1
        rows = self._shared.rows[self._table]
        rows[self.process] = row
        self._shared.wait()
        return list(rows)

    def memory(self, name: str, size: int) -> memoryview:
        with self._shared.lock:
            return self._shared.memory.setdefault(name, memoryview(bytearray(size)))

    def barrier(self) -> None:
        self._shared.wait()

    def exchange_between_hosts(self, parts: Sequence[np.ndarray]) -> None:
        raise AssertionError("threads are one host")

    def recover(self) -> None:
        raise ProcessLost("a thread cannot be lost and the others go on")

    def abort(self, code: int) -> NoReturn:
        self._shared.exit_code = code
        self._shared.break_barrier()
        raise SystemExit(code)


def run_threads(processes: int, patience: float, main: Callable[[Threads], Any]) -> list[Any]:
    """Run `main(transport)` in each of `processes` threads and return their results. The first exception is raised
    here. `patience`: seconds that a thread waits for the others."""
    shared = SharedState(processes, patience)
    results: list[Any] = [None] * processes
    failures: list[BaseException] = []

    def body(process: int) -> None:
        try:
            results[process] = main(Threads(process, shared))
        except BaseException as failure:  # raised again in the caller's thread; the others must not wait for this one
            failures.append(failure)
            shared.break_barrier()

    threads = [threading.Thread(target=body, args=(p,), name=f"process {p}", daemon=True) for p in range(processes)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if failures:
        raise next((f for f in failures if not isinstance(f, ProcessLost)), failures[0])
    return results
