"""Plans: the steps of each worker, by hand and in general."""

from fractions import Fraction
from math import floor

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from properties import repeatable

from psgd.strategy.plans import PacedPlan, exact_speeds, period_to_end

# Plans


def test_pace_by_hand():
    pace = PacedPlan(10, exact_speeds([1, 0.25, 0.05], 3))
    plans = [list(pace.steps(t)) for t in range(4)]
    assert plans == [[10, 2, 0], [10, 3, 1], [10, 2, 0], [10, 3, 1]]  # of 2 1/2 and 1/2 steps a round


def test_speeds_are_exact_decimals():
    """floor(0.29 * 100) is 28 in floating point."""
    assert floor(0.29 * 100) == 28
    assert PacedPlan(100, exact_speeds([1.0, 0.29], 2)).steps(0) == (100, 29)
    assert sum(PacedPlan(1, exact_speeds([1.0, 0.1], 2)).steps(t)[1] for t in range(10)) == 1
    assert exact_speeds(None, 3) == (1, 1, 1)
    assert exact_speeds([1, 0.3], 2) == (1, Fraction(3, 10))


speeds_lists = st.lists(st.decimals("0.01", "1", places=2).map(float), min_size=0, max_size=5).map(lambda s: [1.0, *s])


@repeatable
@given(st.integers(1, 60), speeds_lists, st.integers(0, 30))
def test_pace_follows_the_speeds_to_within_a_step(period, speeds, rounds):
    exact = exact_speeds(speeds, len(speeds))
    pace = PacedPlan(period, exact)
    plans = np.array([pace.steps(t) for t in range(rounds + 1)])
    assert plans.sum(axis=0).tolist() == [floor((rounds + 1) * period * s) for s in exact]
    for taken, s in zip(plans.T, exact, strict=True):
        assert set(taken.tolist()) <= {floor(period * s), floor(period * s) + 1}
    assert (plans[:, 0] == period).all()


def test_period_to_end_by_hand():
    equal = exact_speeds(None, 4)
    assert [period_to_end(batches, equal) for batches in (1, 4, 5, 8, 9)] == [1, 1, 2, 2, 3]
    assert period_to_end(110, exact_speeds([1, 1, 0.5, 0.25], 4)) == 40
    assert period_to_end(111, exact_speeds([1, 1, 0.5, 0.25], 4)) == 41
    assert period_to_end(3, exact_speeds([1, 0.01], 2)) == 3


@repeatable
@given(st.integers(1, 5000), speeds_lists)
def test_period_to_end_is_the_smallest_that_suffices(batches, speeds):
    exact = exact_speeds(speeds, len(speeds))
    period = period_to_end(batches, exact)
    assert sum(PacedPlan(period, exact).steps(0)) >= batches
    assert period == 1 or sum(PacedPlan(period - 1, exact).steps(0)) < batches
