"""The runs of a cell as one line: at every evaluation the median over the seeds, the least and the greatest."""

import math
import statistics
from collections.abc import Callable
from typing import Any, NamedTuple

from psgd.compare.report.panels import Line


class Point(NamedTuple):
    """One evaluation: how many runs have it, and the median, least and greatest score. `at`: its index."""

    at: int
    runs: int
    median: float
    low: float
    high: float


def points(runs: list[list[float]], higher: bool) -> list[Point]:
    """Summarise the scores of the runs of a cell at every evaluation. A run without a finite score there, as after it
    diverged, counts as the worst in the median, so that no run is dropped; the band is of those that have one."""
    worst = -math.inf if higher else math.inf
    found = []
    for index in range(max((len(run) for run in runs), default=0)):
        values = [run[index] for run in runs if index < len(run) and math.isfinite(run[index])]
        median = statistics.median(values + [worst] * (len(runs) - len(values))) if values else worst
        if math.isfinite(median):
            found.append(Point(index, len(values), median, min(values), max(values)))
    return found


def thinned(found: list[Point], count: int) -> list[Point]:
    """At most about `count` points at equal distances, the last among them."""
    every = max(1, math.ceil(len(found) / count))
    return found[len(found) - 1 :: -every][::-1] if found else []


def middle(runs: list[list[float] | None], index: int) -> float | None:
    """The median of a quantity at an evaluation over the runs that got there; None if unknown."""
    values = [run[index] for run in runs if run is not None and index < len(run)]
    return statistics.median(values) if values else None


def line(
    arm: int, cell: dict[str, Any], found: list[Point], position: Callable[[dict[str, Any]], list[float] | None]
) -> Line | None:
    """The line of a cell over the positions of its runs. None if there is no point."""
    at = [position(run) for run in cell["runs"]]
    placed = [(x, point) for point in found if (x := middle(at, point.at)) is not None]
    if not placed:
        return None
    return Line(
        arm,
        [x for x, _ in placed],
        [point.median for _, point in placed],
        [point.low for _, point in placed],
        [point.high for _, point in placed],
    )
