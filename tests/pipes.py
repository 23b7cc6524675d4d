"""A transport for tests that can lose anyone at any exact event: processes over pipes, each a host of its own.

The parent is a switch: it collects the rows of an event (an exchange or a swap) and hands them out. A fault names an
event and a victim, which dies by SIGKILL either before it sends its row, or when all rows have arrived and only half of
the others have got them: so that the event succeeds at some processes and not at others.
"""

import multiprocessing
import os
import signal
import traceback
from collections.abc import Callable, Sequence
from multiprocessing.connection import Connection, wait
from typing import Any, Literal, NamedTuple, NoReturn, final

import numpy as np

from psgd.core.errors import ProcessLost

_fork = multiprocessing.get_context("fork")
TIME_LIMIT = 20.0  # seconds without any message: something hangs


class Fault(NamedTuple):
    event: int  # counted by every process from 0
    victim: int
    when: Literal["before", "torn"]


class Outcome(NamedTuple):
    results: dict[int, Any]  # of those that finished
    events: int  # how many there were
    lost: list[int]


@final
class Pipe:
    """The child's end."""

    kind = "pipes"
    recovers = True

    def __init__(self, process: int, processes: int, connection: Connection, faults: Sequence[Fault]) -> None:
        self.process = process
        self.members: Sequence[int] = tuple(range(processes))
        self._connection = connection
        self._deaths = {f.event for f in faults if f.victim == process and f.when == "before"}
        self._memory: dict[str, memoryview] = {}
        self._events = 0

    @property
    def hosts(self) -> Sequence[int]:
        return self.members

    def all_gather(self, row: bytes) -> list[bytes]:
        if self._events in self._deaths:
            os.kill(os.getpid(), signal.SIGKILL)
        event, self._events = self._events, self._events + 1
        return self._ask(("event", event, row))

    def memory(self, name: str, size: int) -> memoryview:
        return self._memory.setdefault(name, memoryview(bytearray(size)))

    def barrier(self) -> None:
        pass

    def exchange_between_hosts(self, parts: Sequence[np.ndarray]) -> None:
        rows = self.all_gather(parts[self.members.index(self.process)].tobytes())
        for part, row in zip(parts, rows, strict=True):
            if part.size:
                part[:] = np.frombuffer(row, part.dtype).reshape(part.shape)

    def recover(self) -> None:
        self.members, self._events = self._ask(("recover",))

    def abort(self, code: int) -> NoReturn:
        os._exit(code)

    def _ask(self, message: tuple[Any, ...]) -> Any:
        self._connection.send(message)
        answer = self._connection.recv()
        if answer[0] == "lost":
            raise ProcessLost(f"process {answer[1]} was lost")
        return answer[1]


def run_pipes(processes: int, main: Callable[[Pipe], Any], faults: Sequence[Fault] = ()) -> Outcome:
    """`main(transport)` in each of `processes` forked processes."""
    switch = _Switch(processes, faults)
    try:
        return switch.run(main)
    finally:
        switch.close()


class _Switch:
    def __init__(self, processes: int, faults: Sequence[Fault]) -> None:
        self._processes, self._faults = processes, faults
        self._torn = {f.event: f.victim for f in faults if f.when == "torn"}
        self._ends: dict[int, Connection] = {}  # of the living
        self._children: list[Any] = []
        self._rows: dict[int, bytes] = {}
        self._recovering: set[int] = set()
        self._lost: list[int] = []
        self._unsettled = False  # a loss that the survivors have not recovered from
        self._events = 0
        self._results: dict[int, Any] = {}

    def run(self, main: Callable[[Pipe], Any]) -> Outcome:
        for process in range(self._processes):
            ours, theirs = _fork.Pipe()
            child = _fork.Process(target=self._child, args=(process, theirs, main), daemon=True)
            child.start()
            theirs.close()
            self._children.append(child)
            self._ends[process] = ours
        while self._ends:
            ready = wait(list(self._ends.values()), TIME_LIMIT)
            assert ready, f"nothing for {TIME_LIMIT} s: rows of {sorted(self._rows)}, recovering {self._recovering}"
            for process, end in [(p, e) for p, e in self._ends.items() if e in ready]:
                if process in self._ends:
                    self._hear(process, end)
        return Outcome(self._results, self._events, self._lost)

    def close(self) -> None:
        for child in self._children:
            child.kill()
            child.join()

    def _child(self, process: int, connection: Connection, main: Callable[[Pipe], Any]) -> None:
        for end in self._ends.values():  # inherited, or a death of the parent's other children would go unnoticed
            end.close()
        try:
            result = main(Pipe(process, self._processes, connection, self._faults))
        except BaseException as failure:
            traceback.print_exc()
            result = failure
        connection.send(("result", result))

    def _hear(self, process: int, end: Connection) -> None:
        try:
            message = end.recv()
        except (EOFError, ConnectionResetError):
            self._bury(process)
            return
        if message[0] == "result":
            self._results[process] = message[1]
            del self._ends[process]
            if self._ends and self._rows:  # it finished; the others did not hear of that event
                self._disturb(process)
        elif message[0] == "recover":
            self._recovering.add(process)
        elif self._unsettled:
            end.send(("lost", self._lost[-1]))
        else:
            self._events = message[1]
            self._rows[process] = message[2]
        self._settle()

    def _settle(self) -> None:
        living = set(self._ends)
        if self._recovering and self._recovering == living:
            self._unsettled = False
            self._recovering = set()
            self._events += 1
            for end in self._ends.values():
                end.send(("members", (tuple(sorted(living)), self._events)))
        elif self._rows and set(self._rows) == living:
            rows, self._rows = [self._rows[p] for p in sorted(living)], {}
            victim = self._torn.pop(self._events, None)
            if victim in living:
                self._tear(victim, rows)
            else:
                for end in self._ends.values():
                    end.send(("rows", rows))

    def _tear(self, victim: int, rows: list[bytes]) -> None:
        self._children[victim].kill()
        others = [p for p in sorted(self._ends) if p != victim]
        for process in others[: len(others) // 2 + len(others) % 2]:
            self._ends[process].send(("rows", rows))
        self._rows = dict.fromkeys(others[len(others) // 2 + len(others) % 2 :], b"")
        self._bury(victim)

    def _bury(self, process: int) -> None:
        self._lost.append(process)
        del self._ends[process]
        self._disturb(process)
        self._settle()

    def _disturb(self, process: int) -> None:
        """Those who wait for an event learn that it will not come; the others when they ask for the next."""
        self._lost = self._lost or [process]
        self._unsettled = bool(self._ends)
        waiting, self._rows = list(self._rows), {}
        for other in waiting:
            if other in self._ends:
                self._ends[other].send(("lost", process))
