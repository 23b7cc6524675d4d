"""How a failure becomes everyone's: what one process raises alone travels to the others, and all leave together."""

from collections.abc import Callable
from typing import TypeVar, final

import numpy as np

from psgd.core.errors import PsgdError
from psgd.group.group import Group

Answer = TypeVar("Answer")


class Ended(PsgdError):
    """Another process said why this job ends; this one leaves silently with the same code."""

    def __init__(self, code: int) -> None:
        super().__init__("ended by another process")
        self.code = code


@final
class Agreement:
    def __init__(self, group: Group) -> None:
        self._group = group
        self.failure: Exception | None = None  # this process's own, of which the next meeting tells

    @property
    def code(self) -> int:
        """For this process's notice: the exit code of its failure, or 0."""
        if self.failure is None:
            return 0
        return self.failure.code if isinstance(self.failure, PsgdError) else 1

    def attempt(self, act: Callable[[], Answer], otherwise: Answer) -> Answer:
        """Local work, after which the others wait at a meeting: a failure is kept for it."""
        try:
            return act()
        except Exception as failure:
            self.keep(failure)
            return otherwise

    def keep(self, failure: Exception) -> None:
        """Keep a failure of local work for the next exchange; the first one counts."""
        self.failure = self.failure or failure

    def together(self, act: Callable[[], None]) -> None:
        """Collective: do it, and go on only if nobody failed."""
        self.attempt(act, None)
        rows = self._group.all_gather(np.int64(self.code).tobytes())
        self.leave_if([int(np.frombuffer(row, np.int64)[0]) for row in rows])

    def leave_if(self, codes: list[int]) -> None:
        """By the codes of all processes, in their order: the first that failed speaks, the others leave silently."""
        if not any(codes):
            return
        first = next(i for i, code in enumerate(codes) if code)
        if self.failure and self._group.transport.members[first] == self._group.transport.process:
            raise self.failure
        raise Ended(codes[first])
