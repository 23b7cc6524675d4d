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


def drift(notices: np.ndarray) -> str | None:
    """Which processes' replicas differ from what most have, if any do."""
    states = [(int(n["round"]), int(n["digest"])) for n in notices]
    if len(set(states)) == 1:
        return None
    usual = max(states, key=states.count)
    odd = [str(n["process"]) for n, state in zip(notices, states, strict=True) if state != usual]
    return (
        f"replicas drifted apart: process {', '.join(odd)} differs from the others in round {usual[0]}. Unlike CPUs or "
        "libraries, or memory that fails: compare environment.json of the hosts"
    )


class Work(NamedTuple):
    """What strategies are given of a round, in worker order: no clock, no process. Absence is `steps` = 0."""

    steps: np.ndarray  # (workers,) int64
    examples: np.ndarray  # (workers,) int64
