"""Where the processes of a host meet, in memory that they share: each says which turn it has come to, and looks at the
others until they have come to it too. Python takes a few microseconds for it, a message-passing library a dozen and
more, most of them because its code has left the caches since the last meeting."""

import os
from collections.abc import Callable
from typing import final

LINE = 64  # bytes of a cache line: a process's own, so that nobody's look slows another's word
ROW = 4096  # bytes that one process may say to all
BUSY, LONG = 64, 1024  # looks after which others get the core, and after which something else may be seen to


def bytes_of(seats: int) -> int:
    return seats * (LINE + 2 * ROW)


def _nothing() -> None:
    pass


@final
class SpinBarrier:
    """One process's seat. All make the same calls in the same order."""

    def __init__(
        self,
        memory: memoryview,
        seat: int,
        seats: int,
        fence: Callable[[], object] = _nothing,
        meanwhile: Callable[[], object] = _nothing,
    ) -> None:
        """`memory`: bytes_of(seats), zeros at first. `fence`: for processors that let others see stores out of order.
        `meanwhile` is called again and again in a long wait."""
        self._turns, self._rows = memory[: seats * LINE].cast("q"), memory[seats * LINE :]
        self._mine, self._others = seat * LINE // 8, [other * LINE // 8 for other in range(seats) if other != seat]
        # Two rows each, in turns: nobody writes to one again before all have left the meeting in which they read it.
        self._begins = [[(2 * other + odd) * ROW for other in range(seats)] for odd in range(2)]
        self.seats, self._seat, self._turn = seats, seat, 0
        self._fence, self._meanwhile = fence, meanwhile

    def all_gather(self, row: bytes) -> list[bytes]:
        """Everyone's row, of equal length, ROW at most, in order of seats."""
        size, begins = len(row), self._begins[self._turn % 2]
        begin = begins[self._seat]
        self._rows[begin : begin + size] = row
        self.meet()
        return [bytes(self._rows[begin : begin + size]) for begin in begins]

    def meet(self) -> None:
        """Nobody leaves before all have come; what they wrote to shared memory before is seen after."""
        self._turn = turn = self._turn + 1
        self._fence()
        self._turns[self._mine] = turn
        for other in self._others:
            if self._turns[other] < turn:
                self._wait(other, turn)
        self._fence()

    def _wait(self, other: int, turn: int) -> None:
        turns, looks = self._turns, 0
        while turns[other] < turn:
            looks += 1
            if looks % BUSY == 0:
                os.sched_yield()  # to whoever is late, if there are fewer cores than processes
                if looks % LONG == 0:
                    self._meanwhile()
