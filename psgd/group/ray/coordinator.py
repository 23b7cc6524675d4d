"""The coordinator: a Ray actor through which the other actors exchange rows, and from which the driver receives what
they print and how the job ends. It never sees a vector."""

import asyncio
from typing import Any, NamedTuple, final

from psgd.core.errors import ProcessLost


class EarlyEnd(NamedTuple):
    """How the job ends before its time."""

    code: int  # exit code
    reason: str  # for people; empty if an actor has printed it


class Gathered(NamedTuple):
    rows: list[Any]  # in process order; empty if the job has ended
    early_end: EarlyEnd | None
    signal: int  # that asked the driver to stop, or 0


class News(NamedTuple):
    text: str  # printed by actors since the last news
    early_end: EarlyEnd | None


@final
class Coordinator:
    """Its methods run in one event loop, so they need no locks."""

    def __init__(self, processes: int, patience: float) -> None:
        self._processes, self._patience = processes, patience
        self._rows: dict[int, dict[int, Any]] = {}  # of each exchange under way: process -> row
        self._complete: dict[int, asyncio.Future[None]] = {}
        self._early_end: EarlyEnd | None = None
        self._signal = 0
        self._text = ""
        self._has_news = asyncio.Event()
        self._closed = False

    async def all_gather(self, process: int, number: int, row: Any) -> Gathered:
        """Everyone's row of exchange `number`, as soon as all are there or the job has ended."""
        if self._early_end is None:
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
                reason = f"process {missing} did not come to an exchange within {self._patience:g} s"
                await self.end(ProcessLost.code, reason)
        if self._early_end:
            return Gathered([], self._early_end, self._signal)
        return Gathered([rows[p] for p in range(self._processes)], None, self._signal)

    async def end(self, code: int, reason: str) -> None:
        """End all waits. The first end stands."""
        self._early_end = self._early_end or EarlyEnd(code, reason)
        for complete in self._complete.values():
            if not complete.done():
                complete.set_result(None)
        self._has_news.set()

    async def request_stop(self, signal: int) -> None:
        """From now on, what is gathered tells everyone that this signal asked to stop."""
        self._signal = signal

    async def print(self, text: str) -> None:
        """Pass text on to the driver's stderr."""
        self._text += text
        self._has_news.set()

    async def news(self) -> News:
        """Wait for text or the end of the job. For the driver alone."""
        if not self._closed:
            await self._has_news.wait()
            self._has_news.clear()
        text, self._text = self._text, ""
        return News(text, self._early_end)

    async def close(self) -> None:
        """Nothing more will be printed: `news` returns at once."""
        self._closed = True
        self._has_news.set()
