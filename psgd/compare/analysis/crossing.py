"""When a run's score first reaches a target: known as an interval, because scores are only known at evaluations.

Nothing is smoothed: the first evaluation that meets the target counts, even if a later one falls back. Scores that are
None or not finite never meet it."""

import math
from collections.abc import Sequence
from typing import NamedTuple

from psgd.core.errors import UsageError

ScoreSeries = Sequence[float | None]


class Crossing(NamedTuple):
    """The time at which a run reached the target: after `low`, and at the latest at `high`, which is what is reported.
    Of a run that did not reach it both are the time at which the run's budget was spent (it is censored there).

    The unit is that of the times given: seconds, examples, bytes."""

    low: float
    high: float
    reached: bool


def higher_is_better(metric: str) -> bool:
    """Whether larger scores of a metric are better: of an accuracy yes, of a loss no. UsageError for other metrics."""
    if metric.endswith("accuracy"):
        return True
    if metric.endswith("loss"):
        return False
    raise UsageError(f"the metric {metric} is neither an accuracy nor a loss; expected, say, validation_accuracy")


def first_reached(scores: ScoreSeries, target: float, higher: bool) -> int | None:
    """The index of the first evaluation whose score is at least the target (at most, where lower is better)."""
    for index, score in enumerate(scores):
        if score is not None and math.isfinite(score) and (score >= target if higher else score <= target):
            return index
    return None


def first_crossing(
    times: Sequence[float], scores: ScoreSeries, target: float, higher: bool, budget: float | None = None
) -> Crossing:
    """The first crossing of the target by a series of evaluations at ascending `times`.

    An evaluation at the start of training has the time 0; without one, the first interval begins at 0. `budget` is the
    time of the whole budget, for runs that end before it is spent: a run that diverged early must not seem to have been
    censored early. Without it the last evaluation is taken for the end. ValueError if there is neither."""
    index = first_reached(scores, target, higher)
    if index is not None:
        return Crossing(times[index - 1] if index else 0.0, times[index], True)
    if budget is None and not times:
        raise ValueError("a run without evaluations needs the time of its budget")
    end = times[-1] if budget is None else budget
    return Crossing(end, end, False)


def final_score(scores: ScoreSeries) -> float | None:
    """The score of the last evaluation; None if there is none or it is not finite."""
    last = scores[-1] if scores else None
    return last if last is not None and math.isfinite(last) else None


def best_score(scores: ScoreSeries, higher: bool) -> float | None:
    """The best finite score; None if there is none."""
    finite = [score for score in scores if score is not None and math.isfinite(score)]
    return (max if higher else min)(finite, default=None)
