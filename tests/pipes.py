"""A transport for tests that can lose any process at any exact event: forked processes over pipes, each its own host.

The parent is a switch: it collects one message from each process for an event (an all-gather or an exchange between
hosts) and sends all messages to all of them. A fault names an event and a victim. The victim dies by SIGKILL either
before it sends its message, or when all messages have arrived and only half of the others have received them: so that
the event succeeds on some processes and fails on others.
"""

import contextlib
import multiprocessing
import os
import signal
import traceback
import warnings
from collections.abc import Callable, Sequence
from functools import partial
from multiprocessing.connection import Connection, wait
from typing import Any, Literal, NamedTuple, NoReturn, Self, final

import numpy as np
from forks import fork
from processes import LIMIT

from psgd.core.errors import ProcessLost


class Fault(NamedTuple):
    event: int  # counted by every process from 0
    victim: int
    when: Literal["before", "torn"]


class Outcome(NamedTuple):
    results: dict[int, Any]  # of the processes that finished
    events: int  # how many events there were
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

    def confirm_end(self) -> None:
        pass

    def abort(self, code: int) -> NoReturn:
        os._exit(code)

    def _ask(self, message: tuple[Any, ...]) -> Any:
        self._connection.send(message)
        answer = self._connection.recv()
        if answer[0] == "lost":
            raise ProcessLost(f"process {answer[1]} was lost")
        return answer[1]


Main = Callable[["Pipe"], Any]  # a function of a module, or a partial of one


def run_pipes(processes: int, main: Main, faults: Sequence[Fault] = ()) -> Outcome:
    """Run `main(transport)` once in each of `processes` forked processes."""
    with Processes(processes, main) as forked:
        return forked.run(faults)


class Processes:
    """Forked processes that run `main(transport)` any number of times; dead ones are replaced before the next run."""

    def __init__(self, processes: int, main: Main) -> None:
        self._count, self._main = processes, main
        self._children: dict[int, int] = {}  # their process ids
        self._ends: dict[int, Connection] = {}  # the parent's end of each child's pipe

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for process, end in self._ends.items():
            self._kill(process)
            end.close()

    def run(self, faults: Sequence[Fault] = ()) -> Outcome:
        for process in range(self._count):
            if process not in self._ends:
                self._ends[process], theirs = multiprocessing.Pipe()
                with theirs:
                    self._children[process] = fork(partial(_child, process, self._count, self._main), theirs)
        for end in self._ends.values():
            end.send(faults)
        outcome = _Switch(self._ends, faults, self._kill).run()
        for process in set(outcome.lost) - outcome.results.keys():
            self._ends.pop(process).close()
        return outcome

    def _kill(self, process: int) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.kill(self._children[process], signal.SIGKILL)


def _child(process: int, processes: int, main: Main, connection: Connection) -> None:
    warnings.simplefilter("error")  # as in pytest
    while True:
        try:
            faults = connection.recv()
        except EOFError:
            return
        try:
            result = main(Pipe(process, processes, connection, faults))
        except BaseException as failure:
            traceback.print_exc()
            result = failure
        connection.send(("result", result))


class _Switch:
    """The parent's part in one run."""

    def __init__(self, ends: dict[int, Connection], faults: Sequence[Fault], kill: Callable[[int], None]) -> None:
        self._torn = {f.event: f.victim for f in faults if f.when == "torn"}
        self._kill = kill
        self._ends = dict(ends)  # of the processes that are alive and still running
        self._rows: dict[int, bytes] = {}
        self._recovering: set[int] = set()
        self._lost: list[int] = []
        self._unsettled = False  # a loss that the survivors have not recovered from
        self._events = 0
        self._results: dict[int, Any] = {}

    def run(self) -> Outcome:
        while self._ends:
            ready = wait(list(self._ends.values()), LIMIT)
            assert ready, f"nothing for {LIMIT} s: rows of {sorted(self._rows)}, recovering {self._recovering}"
            for process, end in [(p, e) for p, e in self._ends.items() if e in ready]:
                if process in self._ends:
                    self._receive(process, end)
        return Outcome(self._results, self._events, self._lost)

    def _receive(self, process: int, end: Connection) -> None:
        try:
            message = end.recv()
        except (EOFError, ConnectionResetError):
            self._remove(process)
            return
        if message[0] == "result":
            self._results[process] = message[1]
            del self._ends[process]
            if self._ends and self._rows:  # it finished without the event that the others are waiting for
                self._interrupt(process)
        elif message[0] == "recover":
            self._recovering.add(process)
        elif self._unsettled:
            end.send(("lost", self._lost[-1]))
        else:
            self._events = message[1]
            self._rows[process] = message[2]
        self._settle()

    def _settle(self) -> None:
        """Answer all living processes if the last of them has sent its message."""
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
        self._kill(victim)
        others = [p for p in sorted(self._ends) if p != victim]
        for process in others[: len(others) // 2 + len(others) % 2]:
            self._ends[process].send(("rows", rows))
        self._rows = dict.fromkeys(others[len(others) // 2 + len(others) % 2 :], b"")
        self._remove(victim)

    def _remove(self, process: int) -> None:
        self._lost.append(process)
        del self._ends[process]
        self._interrupt(process)
        self._settle()

    def _interrupt(self, process: int) -> None:
        """Tell the processes that wait for an event that it fails; the others learn it when they ask for the next."""
        self._lost = self._lost or [process]
        self._unsettled = bool(self._ends)
        waiting, self._rows = list(self._rows), {}
        for other in waiting:
            if other in self._ends:
                self._ends[other].send(("lost", process))
