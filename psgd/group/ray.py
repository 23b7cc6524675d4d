"""Ray actors: each is a process and a host of its own; they meet at a coordinator. The only module that imports ray.

Plain: a lost actor ends the job. Rows pass through the coordinator; vectors do not, they go by Ray's object store.
"""

import asyncio
import contextlib
import io
import os
import socket
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple, NoReturn, final

import numpy as np

from psgd.errors import ProcessLost, UsageError

GRACE = 10.0  # seconds: to leave after the job has ended, and for an answer beyond the coordinator's patience
START = 60.0  # seconds: at least, for actors to start, where patience is less
LOOK = 0.2  # seconds between two looks at the signals and the clock


def library() -> Any:
    try:
        import ray
    except ImportError:
        raise UsageError("group ray needs ray: pip install ray") from None
    return ray


class Verdict(NamedTuple):
    """How the job ends before its time."""

    code: int
    reason: str  # for people; empty if an actor has said it


class Answer(NamedTuple):
    rows: list[Any]  # in process order; none if there is a verdict
    verdict: Verdict | None
    signal: int  # that asked the driver to stop, or 0


class News(NamedTuple):
    said: str
    verdict: Verdict | None


@final
class Coordinator:
    """The meeting place: an actor, whose methods run in one event loop. It never sees a vector."""

    def __init__(self, processes: int, patience: float) -> None:
        self._processes, self._patience = processes, patience
        self._rows: dict[int, dict[int, Any]] = {}  # of the exchanges under way: process -> row
        self._complete: dict[int, asyncio.Future[None]] = {}
        self._verdict: Verdict | None = None
        self._signal = 0
        self._said = ""
        self._stirred = asyncio.Event()
        self._closed = False

    async def exchange(self, process: int, number: int, row: Any) -> Answer:
        """Everyone's row of exchange `number`, when all are there or the job has ended."""
        if self._verdict is None:
            rows = self._rows.setdefault(number, {})
            complete = self._complete.setdefault(number, asyncio.get_running_loop().create_future())
            rows[process] = row
            if len(rows) == self._processes:
                complete.set_result(None)
                del self._rows[number], self._complete[number]
            else:
                await asyncio.wait([complete], timeout=self._patience)
            if not complete.done():
                missing = ", ".join(str(p) for p in range(self._processes) if p not in rows)
                await self.end(5, f"process {missing} did not come to a meeting within {self._patience:g} s")
        if self._verdict:
            return Answer([], self._verdict, self._signal)
        return Answer([rows[p] for p in range(self._processes)], None, self._signal)

    async def end(self, code: int, reason: str) -> None:
        """Nobody waits any longer. The first verdict stands."""
        self._verdict = self._verdict or Verdict(code, reason)
        for complete in self._complete.values():
            if not complete.done():
                complete.set_result(None)
        self._stirred.set()

    async def ask(self, signal: int) -> None:
        """The next answers tell everyone that a signal asked to stop."""
        self._signal = signal

    async def say(self, text: str) -> None:
        self._said += text
        self._stirred.set()

    async def news(self) -> News:
        """What was said since, when there is anything, or the end; for the driver alone."""
        if not self._closed:
            await self._stirred.wait()
            self._stirred.clear()
        said, self._said = self._said, ""
        return News(said, self._verdict)

    async def close(self) -> None:
        """No more will be said."""
        self._closed = True
        self._stirred.set()


@final
class Ray:
    kind = "ray"

    def __init__(self, process: int, processes: int, coordinator: Any, patience: float) -> None:
        self.process = process
        self.members: Sequence[int] = range(processes)
        self.hosts: Sequence[int] = self.members
        self.heed: Callable[[int], None] = lambda signal: None  # told of the signal that asked the driver to stop
        self._ray = library()
        self._coordinator, self._patience = coordinator, patience
        self._memory: dict[str, memoryview] = {}
        self._loss = ""
        self._exchanges = 0
        self._kept: Any = None  # the last row: all have fetched what it refers to when the next exchange is complete

    def exchange(self, row: bytes) -> list[bytes]:
        return self._exchange(row)

    def memory(self, name: str, size: int) -> memoryview:
        return self._memory.setdefault(name, memoryview(bytearray(size)))

    def barrier(self) -> None:
        pass

    def swap(self, parts: Sequence[np.ndarray]) -> None:
        mine = parts[self.process]
        # A reference within a list is handed on as it is; alone, Ray would fetch what it refers to.
        rows = self._exchange([self._ray.put(mine)] if mine.size else [])
        senders = [p for p, row in enumerate(rows) if row and p != self.process]
        for sender, vector in zip(senders, self._get([rows[p][0] for p in senders]), strict=True):
            parts[sender][:] = vector

    def recover(self) -> NoReturn:
        self._end(5, f"process {self.process}: {self._loss}")
        raise SystemExit(5)

    def abort(self, code: int) -> NoReturn:
        self._end(code, "")
        raise SystemExit(code)

    def _end(self, code: int, reason: str) -> None:
        """The others leave at their next exchange."""
        with contextlib.suppress(ProcessLost):
            self._get(self._coordinator.end.remote(code, reason))

    def _exchange(self, row: Any) -> list[Any]:
        answer: Answer = self._get(self._coordinator.exchange.remote(self.process, self._exchanges, row))
        self._exchanges, self._kept = self._exchanges + 1, row
        if answer.signal:
            self.heed(answer.signal)
        if answer.verdict:
            raise SystemExit(answer.verdict.code)  # silently: the driver says why
        return answer.rows

    def _get(self, reference: Any) -> Any:
        try:
            return self._ray.get(reference, timeout=self._patience + GRACE)
        except self._ray.exceptions.RayError as error:  # the coordinator's end, or that of a vector's owner
            self._loss = f"{type(error).__name__}: {_first_line(error)}"
            raise ProcessLost(self._loss) from None


@final
class _Said(io.TextIOBase):
    """An actor's stderr: what is flushed has reached the driver. Ray's own way there adds prefixes, merges equal lines
    and may come late."""

    def __init__(self, coordinator: Any) -> None:
        self._ray, self._coordinator = library(), coordinator
        self._text = ""

    def write(self, text: str) -> int:
        self._text += text
        return len(text)

    def flush(self) -> None:
        text, self._text = self._text, ""
        if text:
            try:
                self._ray.get(self._coordinator.say.remote(text), timeout=GRACE)
            except self._ray.exceptions.RayError:
                print(text, end="", file=sys.__stderr__, flush=True)  # to the actor's log


@final
class Process:
    """An actor: one process of the job."""

    def __init__(self, process: int, processes: int, coordinator: Any, patience: float) -> None:
        self._coordinator = coordinator
        self._transport = Ray(process, processes, coordinator, patience)

    def place(self) -> str:
        return f"pid {os.getpid()} on {socket.gethostname()}"

    def run(self, main: Callable[[Ray], Any]) -> Any:
        before, sys.stderr = sys.stderr, _Said(self._coordinator)
        try:
            return main(self._transport)
        except SystemExit as leaving:  # Ray would take it for the actor's wish to end
            with contextlib.suppress(SystemExit):
                self._transport.abort(leaving.code if isinstance(leaving.code, int) else 1)
            return None
        finally:
            sys.stderr.flush()
            sys.stderr = before


def run_actors(
    processes: int,
    patience: float,
    variables: Mapping[str, str],
    main: Callable[[Ray], Any],
    asked: Callable[[], int] = lambda: 0,
) -> list[Any]:
    """`main(transport)` in each of `processes` actors, with these environment variables -> what each returned.

    Ray is connected to. `asked`: the number of a signal that asked to stop, or 0; before all actors run, it is a
    KeyboardInterrupt. An exception is raised here; SystemExit if an actor aborted; ProcessLost if one was lost.
    """
    ray = library()
    environment = {"env_vars": dict(variables)}
    coordinator = ray.remote(num_cpus=0, runtime_env=environment)(Coordinator).remote(processes, patience)
    actor = ray.remote(num_cpus=1, max_restarts=0, runtime_env=environment)(Process)
    actors = [actor.remote(p, processes, coordinator, patience) for p in range(processes)]
    try:
        places = _places(ray, actors, patience, asked)
        return _watch(ray, coordinator, {a.run.remote(main): p for p, a in enumerate(actors)}, places, asked)
    finally:
        for each in (*actors, coordinator):
            ray.kill(each)


def _places(ray: Any, actors: list[Any], patience: float, asked: Callable[[], int]) -> list[str]:
    """Where the actors run, when all do."""
    futures = [actor.place.remote() for actor in actors]
    patience = max(patience, START)
    until = time.monotonic() + patience
    while True:
        ready, waiting = ray.wait(futures, num_returns=len(futures), timeout=LOOK)
        try:
            places: list[str] = ray.get(ready)
        except ray.exceptions.RayError as error:
            raise ProcessLost(f"an actor could not start: {_first_line(error)}") from None
        if not waiting:
            return places
        if asked():
            raise KeyboardInterrupt
        if time.monotonic() > until:
            raise ProcessLost(
                f"{len(waiting)} of {len(actors)} actors have not started within {patience:g} s: Ray may have no free "
                "CPUs for them (ray status); lower cluster.processes"
            )


def _watch(
    ray: Any, coordinator: Any, running: dict[Any, int], places: list[str], asked: Callable[[], int]
) -> list[Any]:
    """Pass on what the actors say, and the signals they are to heed; end the job when one of them cannot go on."""
    results: list[Any] = [None] * len(running)
    failure: BaseException | None = None
    told, until = 0, float("inf")
    news = coordinator.news.remote()
    while running and time.monotonic() < until:
        ready, _ = ray.wait([news, *running], timeout=LOOK)
        if asked() != told:
            told = asked()
            coordinator.ask.remote(told)
        for future in ready:
            if future is news:
                verdict = _pass_on(ray, news)
                failure = failure or verdict
                news = coordinator.news.remote()
                continue
            process = running.pop(future)
            try:
                results[process] = ray.get(future)
            except ray.exceptions.RayTaskError as error:
                failure = failure or error
                coordinator.end.remote(1, "")
            except ray.exceptions.RayError:
                reason = f"process {process} ({places[process]}) was lost: it or its host died"
                if failure is None or isinstance(failure, ProcessLost):  # better than what the survivors know of it
                    failure = ProcessLost(reason)
                coordinator.end.remote(5, reason)
        if failure and until == float("inf"):
            until = time.monotonic() + GRACE
    coordinator.close.remote()
    for last in (news, coordinator.news.remote()):
        verdict = _pass_on(ray, last)
        failure = failure or verdict
    if failure:
        raise failure
    return results


def _pass_on(ray: Any, news: Any) -> BaseException | None:
    """Print what actors said; what to raise if the job has ended."""
    try:
        said, verdict = ray.get(news, timeout=GRACE)
    except ray.exceptions.RayError as error:
        raise ProcessLost(f"the coordinator was lost: {_first_line(error)}") from None
    print(said, end="", file=sys.stderr, flush=True)
    if verdict is None:
        return None
    return ProcessLost(verdict.reason) if verdict.reason else SystemExit(verdict.code)


def _first_line(error: BaseException) -> str:
    return str(error).strip().split("\n", 1)[0]
