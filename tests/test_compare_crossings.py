"""Times to a target: the first evaluation that meets it, and summaries over seeds."""

import math

import pytest
from times_to_target import until

from psgd.compare.analysis.crossing import (
    Crossing,
    best_score,
    final_score,
    first_crossing,
    first_reached,
    higher_is_better,
)
from psgd.compare.analysis.statistics import summarize_times
from psgd.core.errors import UsageError

NAN = float("nan")


# First crossing


def test_the_first_evaluation_that_meets_the_target_counts():
    scores = [0.50, 0.92, 0.94, 0.91, 0.99]  # falls back after the third: it counts all the same
    assert first_crossing([10, 20, 30, 40, 50], scores, 0.93, higher=True) == Crossing(20, 30, True)
    assert first_crossing([10, 20, 30, 40, 50], scores, 0.94, higher=True) == Crossing(20, 30, True)  # equal meets
    assert first_crossing([10, 20, 30], [2.0, 0.7, 0.5], 0.7, higher=False) == Crossing(10, 20, True)


def test_scores_that_are_missing_or_not_finite_never_meet_the_target():
    times = [1.0, 2.0, 3.0, 4.0]
    assert first_crossing(times, [0.5, None, NAN, 0.95], 0.9, higher=True) == Crossing(3, 4, True)
    assert first_crossing(times, [math.inf, None, NAN, 0.5], 0.9, higher=True) == Crossing(4, 4, False)
    assert first_crossing(times, [-math.inf, None, NAN, 0.5], 0.1, higher=False) == Crossing(4, 4, False)


def test_a_target_met_at_the_first_evaluation_was_met_since_the_start():
    assert first_crossing([5.0, 10.0], [0.9, 0.8], 0.9, higher=True) == Crossing(0, 5, True)
    assert first_crossing([0.0, 5.0], [0.9, 0.8], 0.9, higher=True) == Crossing(0, 0, True)


def test_a_run_that_misses_the_target_is_censored_at_its_budget():
    assert first_crossing([5.0, 10.0], [0.1, 0.2], 0.9, higher=True) == Crossing(10, 10, False)
    # It diverged at the second of 20 evaluations: the budget counts, not the early end.
    assert first_crossing([5.0, 10.0], [0.1, NAN], 0.9, higher=True, budget=100.0) == Crossing(100, 100, False)
    assert first_crossing([], [], 0.9, higher=True, budget=100.0) == Crossing(100, 100, False)
    with pytest.raises(ValueError, match="budget"):
        first_crossing([], [], 0.9, higher=True)


def test_final_and_best_scores():
    scores = [0.5, 0.9, NAN, None, 0.7]
    assert (final_score(scores), best_score(scores, True), best_score(scores, False)) == (0.7, 0.9, 0.5)
    assert (final_score([0.5, NAN]), final_score([]), best_score([None, NAN], True)) == (None, None, None)
    assert first_reached(scores, 0.6, higher=True) == 1


def test_which_scores_are_better():
    assert higher_is_better("validation_accuracy")
    assert not higher_is_better("test_loss")
    with pytest.raises(UsageError, match="f1"):
        higher_is_better("f1")


# Summaries


@pytest.mark.parametrize(
    ("times", "reached", "median", "mean"),
    [
        ((1, 2, 3, 99, 99), 3, 3, (1 + 2 + 3 + 10 + 10) / 5),  # over all five: 1 2 3 inf inf
        ((1, 2, 99, 99, 99), 2, None, (1 + 2 + 30) / 5),
        ((4, 1, 99, 2), 3, 3, (4 + 1 + 10 + 2) / 4),  # 1 2 4 inf: between 2 and 4
        ((1, 2, 99, 99), 2, None, (1 + 2 + 20) / 4),  # half is not more than half: between 2 and inf
        ((7,), 1, 7, 7),
        ((99,), 0, None, 10),
    ],
)
def test_summaries(times, reached, median, mean):
    assert summarize_times(list(until(10, *times).values())) == (reached, len(times), median, mean)


def test_a_censored_time_is_infinite_to_the_median_even_if_it_is_short():
    times = [Crossing(t, t, True) for t in (5, 6, 7)]
    assert summarize_times([Crossing(2, 2, False), *times]).median == 6.5  # 5 6 7 inf


def test_an_arm_without_runs_has_no_summary():
    with pytest.raises(ValueError, match="without runs"):
        summarize_times([])
