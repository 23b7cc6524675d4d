"""The protocol of experiment trackers: they take scalars over steps. A step is a number of examples."""

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, Protocol

WORKERS_SHOWN = 32  # of weights: so many series of their own at most


class Scalars(NamedTuple):
    step: int
    values: dict[str, float]


class Tracker(Protocol):
    """Its methods are called by one thread, one at a time. They may raise anything, and take long."""

    def begin(self, step: int) -> None:
        """The run begins, or goes on from `step`: what was written about later steps is not true any more."""
        ...

    def write(self, rows: Sequence[Scalars]) -> None: ...

    def finish(self, summary: Mapping[str, Any] | None) -> None:
        """The run has ended; with an error if there is no summary."""
        ...


def scalars(row: Mapping[str, Any]) -> Scalars:
    """The finite numbers of a line of metrics."""
    values = {key: value for key, value in row.items() if key != "examples"}
    weights = values.pop("weights", [])
    values |= {f"weights/worker_{worker}": weight for worker, weight in enumerate(weights[:WORKERS_SHOWN])}
    return Scalars(row["examples"], finite(values))


def finite(values: Mapping[str, Any]) -> dict[str, float]:
    """Return the values that are finite numbers."""
    numbers = {k: float(v) for k, v in values.items() if isinstance(v, int | float) and not isinstance(v, bool)}
    return {key: number for key, number in numbers.items() if math.isfinite(number)}
