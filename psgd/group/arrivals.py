"""Keeps in shared memory which processes of a host have arrived at a collective wait, and a heartbeat of each, so that
a message can name the processes that are missing."""

from collections.abc import Sequence
from typing import final

from psgd.group.spin_barrier import CACHE_LINE_BYTES

MISSED_BEATS = 2  # a process that has missed more heartbeats than that does not run
_STEP = CACHE_LINE_BYTES // 8  # a process's numbers have a cache line of their own
_ARRIVED, _WAITING, _BEATS = range(3)  # collective waits so far; 1 while in a wait; heartbeats of its watchdog


def table_bytes(processes: int) -> int:
    return processes * CACHE_LINE_BYTES


@final
class Arrivals:
    """One process's end. All processes of the host call `arrive` before the same waits, in the same order."""

    def __init__(self, table: memoryview, members: Sequence[int], rank: int) -> None:
        """`table`: `table_bytes(len(members))` bytes, initially 0; `rank`: of this process among `members`."""
        self._table, self.members, self._rank = table.cast("q"), members, rank
        self._own = rank * _STEP
        self._beats = [0] * len(members)
        self._missed = [0] * len(members)  # heartbeats that each has missed in a row

    def arrive(self) -> None:
        self._table[self._own + _ARRIVED] += 1

    def set_waiting(self, waiting: bool) -> None:
        self._table[self._own + _WAITING] = waiting

    def beat(self) -> None:
        """Send this process's heartbeat, and look for the others'; to be called several times within a patience."""
        self._table[self._own + _BEATS] += 1
        beats = [self._table[rank * _STEP + _BEATS] for rank in range(len(self.members))]
        for rank, (before, now) in enumerate(zip(self._beats, beats, strict=True)):
            self._missed[rank] = self._missed[rank] + 1 if now == before else 0
        self._beats = beats

    def absent(self) -> list[int]:
        """The ranks that have not arrived at the wait in which this process is."""
        arrived = self._table[self._own + _ARRIVED]
        return [
            rank
            for rank in range(len(self.members))
            if self._table[rank * _STEP + _ARRIVED] < arrived
            and (not self._table[rank * _STEP + _WAITING] or not self.runs(rank))
        ]

    def runs(self, rank: int) -> bool:
        """Whether that process runs, though it may be busy or hang."""
        return self._missed[rank] <= MISSED_BEATS

    @property
    def must_report(self) -> bool:
        """Whether this process is the one to report who is missing: the first of those that have arrived."""
        return self._rank == min(set(range(len(self.members))) - set(self.absent()))
