"""What processes exchange at the end of a segment: a report of every worker and a notice of every process.

They are plain numbers in one row of bytes a process. Every round waits for this exchange, so it must cost little.
"""

import struct
from collections.abc import Sequence
from functools import lru_cache
from typing import Any, NamedTuple

SEGMENT_SECONDS = 1.0  # of local steps between two exchanges; raised, signals and losses are noticed later


class Notice(NamedTuple):
    """A process's own message. Usually the same from all processes."""

    round: int = 0
    digest: int = 0  # CRC-32 of a part of the replica
    signal: int = 0  # number of the signal that asked to stop, or CALLBACK_END (training/signals.py), or 0
    save: int = 0  # 1 if a checkpoint is due
    error: int = 0  # exit code of the exception that this process raised, or 0


class Report(NamedTuple):
    """About one worker's part of the round."""

    worker: int  # -1: an unused slot
    steps_done: int = 0  # in this round
    loss: float = 0.0  # sum over this round's examples
    first_nonfinite: int = -1  # first index of the contribution that is not finite (P: only the loss); -1 if all is
    seconds: float = 0.0  # computing time of this segment; for people, never for a strategy


class RoundReports(NamedTuple):
    """The same on every process: columns of the reports in worker order, and the notices in process order."""

    steps_done: tuple[int, ...]
    loss: tuple[float, ...]
    first_nonfinite: tuple[int, ...]
    seconds: tuple[float, ...]
    notices: Sequence[Notice]
    routine: bool  # whether all notices are equal, and none asks for anything

    @property
    def nonfinite_workers(self) -> list[int]:
        """The workers whose contribution or loss is not finite."""
        return [worker for worker, index in enumerate(self.first_nonfinite) if index >= 0]


_UNUSED_SLOT = Report(-1)
_HEAD, _WIDTH = len(Notice._fields), len(Report._fields)


def _columns(fields: tuple[Any, ...]) -> Sequence[tuple[Any, ...]]:
    return fields[::5], fields[1::5], fields[2::5], fields[3::5], fields[4::5]


@lru_cache
def _row_struct(slots: int) -> struct.Struct:
    return struct.Struct("<5q" + "qqdqd" * slots)


ROW_BYTES = _row_struct(1).size  # of a process with one worker


def pack_reports(notice: Notice, reports: Sequence[Report], slots: int) -> bytes:
    """A process's row: its notice, and `slots` reports, as many as the process with most workers has."""
    fields: list[float] = [*notice]
    for report in reports:
        fields += report
    for _ in range(slots - len(reports)):
        fields += _UNUSED_SLOT
    return _row_struct(slots).pack(*fields)


def unpack_reports(rows: Sequence[bytes], slots: int) -> RoundReports:
    processes = [_row_struct(slots).unpack(row) for row in rows]
    fields = processes[0]
    first = Notice(*fields[:_HEAD])
    notices, routine = [first] * len(rows), not (first.signal or first.save or first.error)
    reports = fields[_HEAD:]
    for fields in processes[1:]:
        reports += fields[_HEAD:]
        if fields[:_HEAD] != first:
            notices, routine = [Notice(*fields[:_HEAD]) for fields in processes], False
    workers, steps_done, loss, first_nonfinite, seconds = _columns(reports)
    if workers != tuple(range(len(workers))):  # unused slots, or adopted workers out of order
        columns = zip(workers, steps_done, loss, first_nonfinite, seconds, strict=True)
        used = sorted(report for report in columns if report[0] >= 0)
        _, steps_done, loss, first_nonfinite, seconds = zip(*used, strict=True) if used else [()] * _WIDTH
    return RoundReports(steps_done, loss, first_nonfinite, seconds, notices, routine)


def drift(reports: RoundReports, members: Sequence[int]) -> str | None:
    """Which processes' replicas differ from those of the majority; None if all are equal."""
    states = [notice[:2] for notice in reports.notices]
    if all(state == states[0] for state in states):
        return None
    usual = max(states, key=states.count)
    odd = [str(member) for member, state in zip(members, states, strict=True) if state != usual]
    return (
        f"replicas drifted apart: process {', '.join(odd)} differs from the others in round {usual[0]}. Unlike CPUs or "
        "libraries, or memory that fails: compare environment.json of the hosts"
    )
