"""What rides on a meeting: every worker's report, every process's notice."""

import struct
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple, final

import numpy as np

# Plain numbers, and no arrays of records: there are few, and every round waits for them.
_NOTICE, _REPORT = struct.Struct("<5q"), struct.Struct("<qqdqd")


class Report(NamedTuple):
    """Of one worker's leg."""

    worker: int  # -1: nobody
    done: int = 0  # steps of this round
    loss: float = 0.0  # sum over this round's examples
    bad: int = -1  # first index of the contribution that is not finite (P: only the loss); -1 if all is finite
    seconds: float = 0.0  # computing, of this leg; for people, never for a strategy


_NOBODY = _REPORT.pack(*Report(-1))


class Notice(NamedTuple):
    """As a rule the same from all processes, so that one look at the bytes says that nobody wants anything."""

    round: int = 0
    digest: int = 0  # of a rotating part of the replica
    signal: int = 0  # number of the signal that asked to stop, or 0
    save: int = 0  # a checkpoint is due
    error: int = 0  # exit code of what this process raised, or 0

    def pack(self) -> bytes:
        return _NOTICE.pack(*self)


class RoundReports(NamedTuple):
    """The same on every process: columns of the reports, in worker order, and the notices, in process order."""

    done: Sequence[int]
    loss: Sequence[float]
    bad: Sequence[int]
    seconds: Sequence[float]
    notices: Sequence[Notice]

    @property
    def nonfinite_workers(self) -> list[int]:
        """The workers whose contribution, or loss, is not."""
        return [worker for worker, index in enumerate(self.bad) if index >= 0]


def pack(notice: Notice, reports: Sequence[Report], seats: int) -> bytes:
    """A process's row for the meeting: its notice, and room for the reports of `seats` workers."""
    rows = [_REPORT.pack(*report) for report in reports]
    return b"".join([notice.pack(), *rows, *[_NOBODY] * (seats - len(rows))])


def unpack(rows: Sequence[bytes]) -> RoundReports:
    heads = [row[: _NOTICE.size] for row in rows]
    first = Notice(*_NOTICE.unpack(heads[0]))
    notices = [first if head == heads[0] else Notice(*_NOTICE.unpack(head)) for head in heads]
    everyone = sorted(_REPORT.iter_unpack(b"".join([row[_NOTICE.size :] for row in rows])))
    reports = [report for report in everyone if report[0] >= 0]
    # None, where every process has failed.
    _, done, loss, bad, seconds = zip(*reports, strict=True) if reports else [()] * len(Report._fields)
    return RoundReports(done, loss, bad, seconds, notices)


def drift(reports: RoundReports, members: Sequence[int]) -> str | None:
    """Which processes' replicas differ from what most have, if any do."""
    states = [notice[:2] for notice in reports.notices]
    if all(state == states[0] for state in states):
        return None
    usual = max(states, key=states.count)
    odd = [str(member) for member, state in zip(members, states, strict=True) if state != usual]
    return (
        f"replicas drifted apart: process {', '.join(odd)} differs from the others in round {usual[0]}. Unlike CPUs or "
        "libraries, or memory that fails: compare environment.json of the hosts"
    )


@final
@dataclass(frozen=True, eq=False)
class WorkDone:
    """What strategies are given of a round, in worker order: no clock, no process. Absence is `steps` = 0."""

    steps: np.ndarray  # (workers,) int64
    examples: np.ndarray  # (workers,) int64


@lru_cache(maxsize=16)
def work_done(steps: tuple[int, ...], batch: int) -> WorkDone:
    """Most rounds are like others: what is made of one work need be made once."""
    done = frozen(np.array(steps, np.int64))
    return WorkDone(done, frozen(done * batch))


def frozen(numbers: np.ndarray) -> np.ndarray:
    """To be shared: whoever writes to them is told."""
    numbers.flags.writeable = False
    return numbers
