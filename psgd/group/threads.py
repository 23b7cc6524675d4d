"""Threads of one process. BLAS and numpy release the interpreter's lock where the work is."""

import threading
from collections.abc import Callable, Sequence
from typing import Any, NoReturn, final

import numpy as np

from psgd.core.errors import ProcessLost


@final
class Coordinator:
    """The meeting place: a barrier, a table of rows, and the memory that all share."""

    def __init__(self, processes: int, patience: float) -> None:
        self.processes = processes
        self.meeting = threading.Barrier(processes)
        self.rows: list[list[bytes]] = [[b""] * processes for _ in range(2)]
        self.memory: dict[str, memoryview] = {}
        self.lock = threading.Lock()
        self.patience = patience
        self.code: int | None = None  # of a thread that ended the job

    def wait(self) -> None:
        try:
            self.meeting.wait(self.patience)
        except threading.BrokenBarrierError:
            if self.code is not None:
                raise SystemExit(self.code) from None  # silently: that thread has said why
            raise ProcessLost(f"a thread ended, or did not come to a meeting within {self.patience:g} s") from None


@final
class Threads:
    kind = "threads"

    def __init__(self, process: int, coordinator: Coordinator) -> None:
        self.process = process
        self.members: Sequence[int] = range(coordinator.processes)
        self.hosts: Sequence[int] = [0] * coordinator.processes
        self._coordinator = coordinator
        self._turn = 0

    def all_gather(self, row: bytes) -> list[bytes]:
        # Two tables in turn: one barrier is enough, since nobody writes to a table before all have left its meeting.
        self._turn ^= 1
        rows = self._coordinator.rows[self._turn]
        rows[self.process] = row
        self._coordinator.wait()
        return list(rows)

    def memory(self, name: str, size: int) -> memoryview:
        with self._coordinator.lock:
            return self._coordinator.memory.setdefault(name, memoryview(bytearray(size)))

    def barrier(self) -> None:
        self._coordinator.wait()

    def exchange_between_hosts(self, parts: Sequence[np.ndarray]) -> None:
        raise AssertionError("threads are one host")

    def recover(self) -> None:
        raise ProcessLost("a thread cannot be lost and the others go on")

    def abort(self, code: int) -> NoReturn:
        self._coordinator.code = code
        self._coordinator.meeting.abort()
        raise SystemExit(code)


def run_threads(processes: int, patience: float, main: Callable[[Threads], Any]) -> list[Any]:
    """`main(transport)` in each of `processes` threads -> what each returned; the first exception is raised here."""
    coordinator = Coordinator(processes, patience)
    results: list[Any] = [None] * processes
    failures: list[BaseException] = []

    def body(process: int) -> None:
        try:
            results[process] = main(Threads(process, coordinator))
        except BaseException as failure:  # carried to the caller's thread; the others must not wait for this one
            failures.append(failure)
            coordinator.meeting.abort()

    threads = [threading.Thread(target=body, args=(p,), name=f"process {p}", daemon=True) for p in range(processes)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if failures:
        raise next((f for f in failures if not isinstance(f, ProcessLost)), failures[0])
    return results
