"""Where Ray actors meet: they exchange rows here, and the driver hears what they say and how the job ends."""

import asyncio
from typing import Any, NamedTuple, final


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

    async def all_gather(self, process: int, number: int, row: Any) -> Answer:
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
