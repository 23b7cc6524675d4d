"""The coordinator: a Ray actor through which the other actors exchange rows, and from which the driver receives what
they print and how the job ends. Large vectors do not pass through it."""

import asyncio
from collections.abc import Iterable
from typing import Any, NamedTuple, final

from psgd.core.errors import ProcessLost


class EarlyEnd(NamedTuple):
    """How the job ends before its time."""

    code: int  # exit code
    reason: str  # for people; empty if an actor has printed it


class Gathered(NamedTuple):
    rows: dict[int, Any] | None  # by process, in order; None if the job has ended or a loss must be recovered from
    early_end: EarlyEnd | None
    signal: int  # that asked the driver to stop, or 0


class Question(NamedTuple):
    number: int
    content: Any


class News(NamedTuple):
    text: str  # printed by actors since the last news
    early_end: EarlyEnd | None
    question: Question | None  # asked since the last news


@final
class _Exchange:
    """One exchange of rows: all who wait for it receive all rows, or none."""

    def __init__(self) -> None:
        self.rows: dict[int, Any] = {}
        self.complete = False
        self.over = asyncio.Event()

    def complete_if_all(self, members: Iterable[int]) -> bool:
        """Complete it if the rows of all members are there; return whether they are."""
        if all(process in self.rows for process in members):
            self.rows = {process: self.rows[process] for process in members}
            self.complete = True
            self.over.set()
        return self.complete


@final
class Coordinator:
    """Its methods run in one event loop, so they need no locks.

    A loss fails the exchange under way for all members, and all later ones until each of them has called `recover`."""

    def __init__(self, processes: int, patience: float) -> None:
        self._members, self._patience = list(range(processes)), patience
        self._exchange = _Exchange()  # the one under way
        self._recovery: _Exchange | None = None  # after a loss, until all members have come to it
        self._early_end: EarlyEnd | None = None
        self._signal = 0
        self._text = ""
        self._question: Question | None = None  # the last one, until the driver receives it
        self._answers: dict[int, asyncio.Future[Any]] = {}  # to questions, by number; a lost process's stays open
        self._has_news = asyncio.Event()
        self._closed = False

    async def all_gather(self, process: int, row: Any) -> Gathered:
        """Everyone's row, as soon as all are there. None if the job has ended or a process was lost."""
        exchange, rows = self._exchange, None
        if self._recovery is None and not self._ended(process):
            exchange.rows[process] = row
            if exchange.complete_if_all(self._members):
                self._exchange = _Exchange()
            rows = await self._wait(exchange)
        return Gathered(rows, self._ended(process), self._signal)

    async def recover(self, process: int) -> Gathered:
        """Wait until all members have come here; its rows are theirs. A process that knows of a loss before the driver
        does calls it too, and fails the exchange of the others."""
        rows = None
        if not self._ended(process):
            recovery = self._fail_exchange()
            recovery.rows[process] = None
            self._end_recovery_if_all()
            rows = await self._wait(recovery)
        return Gathered(rows, self._ended(process), self._signal)

    async def lose(self, process: int) -> None:
        """For the driver: this process was lost. Should it live, it leaves at its next exchange."""
        self._members.remove(process)
        self._fail_exchange()
        self._end_recovery_if_all()

    async def end(self, code: int, reason: str, process: int | None = None) -> None:
        """End the job, and all waits. The first end stands. `process`: which ends it, if not the driver; one that was
        taken for lost leaves alone."""
        if process is not None and process not in self._members:
            return
        self._early_end = self._early_end or EarlyEnd(code, reason)
        for exchange in (self._exchange, self._recovery):
            if exchange:
                exchange.over.set()
        self._has_news.set()

    async def request_stop(self, signal: int) -> None:
        """From now on, what is gathered tells everyone that this signal asked to stop."""
        self._signal = signal

    async def print(self, text: str) -> None:
        """Pass text on to the driver's stderr."""
        self._text += text
        self._has_news.set()

    async def ask(self, content: Any) -> Any:
        """Ask the driver, and wait for its answer."""
        number = len(self._answers)
        self._answers[number] = asyncio.get_running_loop().create_future()
        self._question = Question(number, content)
        self._has_news.set()
        return await self._answers[number]

    async def answer(self, number: int, answer: Any) -> None:
        """For the driver: answer a question."""
        self._answers[number].set_result(answer)

    async def news(self) -> News:
        """Wait for text, a question, or the end of the job. For the driver alone."""
        if not self._closed:
            await self._has_news.wait()
            self._has_news.clear()
        text, self._text = self._text, ""
        question, self._question = self._question, None
        return News(text, self._early_end, question)

    async def close(self) -> None:
        """Nothing more will be printed: `news` returns at once."""
        self._closed = True
        self._has_news.set()

    def _ended(self, process: int) -> EarlyEnd | None:
        """How the job has ended for a process: also one that was taken for lost has to leave."""
        taken_for_lost = process not in self._members
        return self._early_end or (EarlyEnd(ProcessLost.code, "") if taken_for_lost else None)

    async def _wait(self, exchange: _Exchange) -> dict[int, Any] | None:
        """Wait until it is complete, has failed, or the patience is over, which ends the job."""
        try:
            async with asyncio.timeout(self._patience):
                await exchange.over.wait()
        except TimeoutError:
            if not exchange.over.is_set():  # it may have come to its end in the same moment
                missing = ", ".join(str(process) for process in self._members if process not in exchange.rows)
                await self.end(
                    ProcessLost.code, f"process {missing} did not come to an exchange within {self._patience:g} s"
                )
        return exchange.rows if exchange.complete else None

    def _fail_exchange(self) -> _Exchange:
        """Let all members fail their exchanges until they recover."""
        if self._recovery is None:
            self._recovery = _Exchange()
            self._exchange.over.set()
            self._exchange = _Exchange()
        return self._recovery

    def _end_recovery_if_all(self) -> None:
        if self._recovery and self._recovery.complete_if_all(self._members):
            self._recovery = None
