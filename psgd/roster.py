"""What rides on a meeting: every worker's report, every process's notice."""

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

NOTICE = np.dtype(
    [
        ("process", np.int64),
        ("round", np.int64),
        ("digest", np.int64),  # of a rotating part of the replica
        ("signal", np.int64),  # number of the signal that asked to stop, or 0
        ("save", np.int64),  # a checkpoint is due
        ("error", np.int64),  # exit code of what this process raised, or 0
        ("seconds", np.float64),  # since its previous meeting
    ]
)


class Roster(NamedTuple):
    """The same on every process."""

    reports: np.ndarray  # (workers,) REPORT, in worker order
    notices: np.ndarray  # (processes,) NOTICE, in process order


class Work(NamedTuple):
    """What strategies are given of a round, in worker order: no clock, no process. Absence is `steps` = 0."""

    steps: np.ndarray  # (workers,) int64
    examples: np.ndarray  # (workers,) int64
