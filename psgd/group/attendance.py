"""Which processes of a host have come to a wait, in memory that they share: so that a message can name the absent."""

from collections.abc import Sequence
from typing import final

from psgd.group.spin_barrier import CACHE_LINE_BYTES

STILL_LOOKS = 2  # a process whose pulse did not move in more looks than that does not run
_STEP = CACHE_LINE_BYTES // 8  # a process's numbers have a cache line of their own
_COME, _WAITING, _PULSE = range(3)  # collective waits so far; 1 while in a wait; a counter that its watchdog increments


def table_bytes(processes: int) -> int:
    return processes * CACHE_LINE_BYTES


@final
class Attendance:
    """One process's end. All processes of the host call `come` before the same waits, in the same order."""

    def __init__(self, table: memoryview, members: Sequence[int], rank: int) -> None:
        """`table`: `table_bytes(len(members))` bytes, initially 0; `rank`: of this process among `members`."""
        self._table, self.members, self._rank = table.cast("q"), members, rank
        self._own = rank * _STEP
        self._pulses = [0] * len(members)
        self._still = [0] * len(members)  # looks since the pulse of each has moved

    def come(self) -> None:
        self._table[self._own + _COME] += 1

    def wait(self, waiting: bool) -> None:
        self._table[self._own + _WAITING] = waiting

    def look(self) -> None:
        """Move this process's pulse, and look at those of the others; to be called several times within a patience."""
        self._table[self._own + _PULSE] += 1
        pulses = [self._table[rank * _STEP + _PULSE] for rank in range(len(self.members))]
        for rank, (before, pulse) in enumerate(zip(self._pulses, pulses, strict=True)):
            self._still[rank] = self._still[rank] + 1 if pulse == before else 0
        self._pulses = pulses

    def absent(self) -> list[int]:
        """The ranks that have not come to the wait in which this process is."""
        come = self._table[self._own + _COME]
        return [
            rank
            for rank in range(len(self.members))
            if self._table[rank * _STEP + _COME] < come
            and (not self._table[rank * _STEP + _WAITING] or not self.runs(rank))
        ]

    def runs(self, rank: int) -> bool:
        """Whether that process runs, though it may be busy or hang."""
        return self._still[rank] <= STILL_LOOKS

    @property
    def speaks(self) -> bool:
        """Whether this process is the first of those that have come."""
        return self._rank == min(set(range(len(self.members))) - set(self.absent()))
