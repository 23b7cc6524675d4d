"""What rides on a meeting: every worker's report, every process's notice."""

import struct
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

REPORT = np.dtype(
    [
        ("worker", np.int64),
        ("done", np.int64),  # steps of this round
        ("loss", np.float64),  # sum over this round's examples
        ("bad", np.int64),  # first index of the contribution that is not finite (P: only the loss); -1 if all is finite
        ("seconds", np.float64),  # computing, of this leg; for people, never for a strategy
    ]
)

_NOTICE = struct.Struct("<5q")


class Notice(NamedTuple):
    """As a rule the same from all processes, so that one look at the bytes says that nobody wants anything."""

    round: int = 0
    digest: int = 0  # of a rotating part of the replica
    signal: int = 0  # number of the signal that asked to stop, or 0
    save: int = 0  # a checkpoint is due
    error: int = 0  # exit code of what this process raised, or 0

    def pack(self) -> bytes:
        return _NOTICE.pack(*self)


class Roster(NamedTuple):
    """The same on every process."""

    reports: np.ndarray  # (workers,) REPORT, in worker order
    notices: Sequence[Notice]  # in process order

    @property
    def not_finite(self) -> list[int]:
        """The workers whose contribution, or loss, is not."""
        return [worker for worker, index in enumerate(self.reports["bad"].tolist()) if index >= 0]


def pack(notice: Notice, reports: np.ndarray, seats: int) -> bytes:
    """A process's row for the meeting: its notice, and room for the reports of `seats` workers."""
    if len(reports) < seats:
        row = np.zeros(seats, REPORT)
        row["worker"] = -1
        row[: len(reports)] = reports
        reports = row
    return notice.pack() + reports.tobytes()


def unpack(rows: Sequence[bytes]) -> Roster:
    heads = [row[: _NOTICE.size] for row in rows]
    first = Notice(*_NOTICE.unpack(heads[0]))
    same = all(head == heads[0] for head in heads)
    notices = [first] * len(rows) if same else [Notice(*_NOTICE.unpack(head)) for head in heads]
    reports = np.frombuffer(b"".join([row[_NOTICE.size :] for row in rows]), REPORT)
    if reports["worker"].tolist() != list(range(len(reports))):  # there are empty seats, or workers were adopted
        reports = reports[reports["worker"] >= 0]
        reports = reports[np.argsort(reports["worker"])]
    return Roster(reports, notices)


def drift(roster: Roster, members: Sequence[int]) -> str | None:
    """Which processes' replicas differ from what most have, if any do."""
    states = [notice[:2] for notice in roster.notices]
    if all(state == states[0] for state in states):
        return None
    usual = max(states, key=states.count)
    odd = [str(member) for member, state in zip(members, states, strict=True) if state != usual]
    return (
        f"replicas drifted apart: process {', '.join(odd)} differs from the others in round {usual[0]}. Unlike CPUs or "
        "libraries, or memory that fails: compare environment.json of the hosts"
    )


class Work(NamedTuple):
    """What strategies are given of a round, in worker order: no clock, no process. Absence is `steps` = 0."""

    steps: np.ndarray  # (workers,) int64
    examples: np.ndarray  # (workers,) int64
