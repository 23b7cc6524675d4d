"""Times of two arms compared: by hand, against scipy, and how often a verdict is false by chance."""

import math
from dataclasses import replace

import numpy as np
import pytest
from times_to_target import exact, lognormal, rounded, same, until

from psgd.compare.analysis.crossing import Crossing
from psgd.compare.analysis.statistics import PairedComparison, across_arms, holm, paired

EDGE = -math.log(0.95)


# Pairs


def test_the_interval_and_p_by_hand():
    # Log ratios -0.6, -0.7, -0.8: mean -0.7, standard deviation 0.1, standard error 0.1 / sqrt(3) = 0.0577350; the t
    # quantile of 2 degrees of freedom is 4.302653, so the interval is -0.7 -+ 0.248414.
    result = paired(exact(math.exp(-0.6), math.exp(-0.7), math.exp(-0.8)), exact(1, 1, 1))
    assert result.ratio == pytest.approx(math.exp(-0.7))
    assert (result.low, result.high) == pytest.approx((math.exp(-0.948414), math.exp(-0.451586)), rel=1e-6)
    # The margin is log 0.95 = -0.0512933, which is t = 11.23593 errors away. With 2 degrees of freedom the distribution
    # is 1/2 + t / (2 sqrt(2 + t^2)), so p = 1 - t / sqrt(2 + t^2).
    assert result.p == pytest.approx(1 - 11.23593 / math.sqrt(2 + 11.23593**2), rel=1e-5)
    assert (result.n, result.pairs_censored, result.bound, result.p_holm) == (3, 0, None, None)
    assert (result.verdict, result.strength) == ("faster", "indication")


@pytest.mark.parametrize("n", [2, 3, 6, 10])
def test_without_a_margin_it_is_the_paired_t_test_of_scipy(n):
    from scipy.stats import ttest_rel

    arm, reference = np.random.default_rng(n).lognormal(size=(2, n))
    expected = ttest_rel(np.log(arm), np.log(reference))
    result = paired(exact(*arm), exact(*reference), margin=0.0, level=0.9)
    interval = expected.confidence_interval(0.9)
    assert (math.log(result.low), math.log(result.high)) == pytest.approx((interval.low, interval.high))
    assert result.p == pytest.approx(expected.pvalue)


@pytest.mark.parametrize(
    ("middle", "verdict"),
    # Half a width of 0.0248 around the middle, with edges at -+0.0513.
    [
        (-0.08, "faster"),
        (-0.07, "undecided"),  # excludes 1, but not a difference within the margin
        (-0.03, "undecided"),
        (-0.02, "equivalent"),
        (0.02, "equivalent"),
        (0.07, "undecided"),
        (0.08, "slower"),
    ],
)
def test_the_verdict_is_where_the_whole_interval_lies(middle, verdict):
    # Log ratios middle - 0.01, middle, middle + 0.01: 4.302653 * 0.01 / sqrt(3) = 0.024841
    arm = exact(*(math.exp(middle + d) for d in (-0.01, 0, 0.01)))
    assert paired(arm, exact(1, 1, 1)).verdict == verdict
    swapped = {"faster": "slower", "slower": "faster"}.get(verdict, verdict)
    assert paired(exact(1, 1, 1), arm).verdict == swapped


def test_pairs_are_formed_by_seed():
    arm = {7: Crossing(1, 1, True), 3: Crossing(2, 2, True), 5: Crossing(9, 9, True)}
    reference = {3: Crossing(4, 4, True), 7: Crossing(2, 2, True), 4: Crossing(1, 1, True)}
    result = paired(arm, reference)  # seeds 3 and 7, a half each
    assert (result.ratio, result.n) == (0.5, 2)


def test_one_pair_or_none_is_undecided():
    assert paired({}, exact(1)) == PairedComparison(None, None, None, 0, 0, None, "undecided", "indication")
    assert paired(exact(1), exact(2)) == PairedComparison(0.5, None, None, 1, 0, None, "undecided", "indication")


@pytest.mark.parametrize(("n", "strength"), [(2, "indication"), (5, "indication"), (6, "verdict"), (10, "verdict")])
def test_equal_times_are_equivalent_from_two_seeds_on(n, strength):
    result = paired(exact(*range(1, n + 1)), exact(*range(1, n + 1)))
    assert (result.ratio, result.verdict, result.strength, result.p) == (1.0, "equivalent", strength, 1.0)
    assert result.low < 1 < result.high


def test_the_same_ratio_on_all_seeds_is_no_certainty():
    # The least spread of 0.005: 12.706205 * 0.005 / sqrt(2) = 0.044923 with two seeds.
    result = paired(exact(5, 7), exact(10, 14))
    assert (result.low, result.high) == pytest.approx((0.5 * math.exp(-0.044923), 0.5 * math.exp(0.044923)), rel=1e-6)
    assert result.p > 0.002


# Rounding to evaluations


def test_what_evaluations_leave_open_stays_in_the_interval_whatever_the_number_of_seeds():
    # From (4, 5] over (9, 10]: between 4/10 and 5/9.
    result = paired(same(1000, 4, 5), same(1000, 9, 10))
    assert (result.low, result.high) == pytest.approx((4 / 10, 5 / 9))
    assert (result.ratio, result.verdict) == (0.5, "faster")


def test_what_evaluations_leave_open_adds_to_the_spread_over_seeds():
    # Log times from 0 to 1 over exactly 0, 0.1, 0.2: ratios of at least 0, -0.1, -0.2, which are -0.1 -+ 0.248414.
    arm, reference = same(3, 1, math.e), exact(*map(math.exp, (0, 0.1, 0.2)))
    result, swapped = paired(arm, reference), paired(reference, arm)
    assert (math.log(result.low), math.log(swapped.high)) == pytest.approx((-0.348414, 0.348414), rel=1e-5)
    assert result.ratio == pytest.approx(math.exp(0.9))


@pytest.mark.parametrize("n", [3, 6, 20])
def test_each_end_misses_in_one_of_forty_though_one_arm_has_few_evaluations_and_the_other_many(n):
    draw, missed = lognormal(n, 0.08, seed=n), np.zeros(2)
    for _ in range(400):
        result = paired(rounded(0.001, *draw()), rounded(1 / 17.3, *draw()))
        missed += result.high < 1, result.low > 1
    assert max(missed) <= 400 / 40


def test_an_order_that_rounding_can_turn_is_undecided():
    # Rounds of the arm cost 0.9. It needs 4.05 of them, at 3.645 s, which rounds to (3.6, 4.5]; the reference needs
    # 3.95 s, which rounds to (3, 4]. The ratio of what is reported, 1.125, has the wrong side of 1.
    assert paired(same(1000, 3.6, 4.5), same(1000, 3, 4)).verdict == "undecided"


def test_runs_between_the_same_evaluations_are_equivalent_only_if_they_are_the_same_runs():
    assert paired(same(10, 4, 5), same(10, 4, 5)).verdict == "undecided"
    result = paired(same(10, 4, 5), same(10, 4, 5), same_runs=range(10))
    assert (result.verdict, result.ratio) == ("equivalent", 1.0)
    assert result.high < 1.004
    # At a price of half as much a step.
    assert paired(same(2, 2, 2.5), same(2, 4, 5), same_runs=range(2)).high == pytest.approx(0.5 * math.exp(0.044923))


def test_the_spread_is_at_least_that_of_rounding():
    # The variance of the logarithm of a uniform number of (c, 1] is 1 - c (log c / (1 - c))^2: 0.0041391 for c = 4/5
    # and 0.0009250 for c = 9/10; for 3 equal pairs their error is sqrt(0.0050641 / 3) = 0.0410857, times 4.302653.
    result = paired(same(3, 4, 5), same(3, 9, 10))
    assert math.log(0.5 / result.low) == pytest.approx(math.log(10 / 8), rel=1e-6)  # the interval of rounding is wider
    assert math.log(result.high / 0.5) == pytest.approx(4.302653 * 0.0410857, rel=1e-4)


@pytest.mark.parametrize("c", [0.0, 0.3, 0.8, 0.989, 0.9900001, 0.999])
def test_the_variance_of_a_rounded_time(c):
    from psgd.compare.analysis.statistics import _rounding

    values = np.log(c + (1 - c) * (np.arange(400_000) + 0.5) / 400_000)
    assert _rounding(Crossing(5 * c, 5, True)) == pytest.approx(values.var(), rel=0.011)


def test_a_reference_that_is_there_at_the_first_evaluation_leaves_no_upper_end():
    result = paired(same(6, 1, 2), same(6, 0, 10))
    assert (result.high, result.p, result.verdict) == (None, None, "undecided")
    assert paired(same(6, 0, 1), same(6, 9, 10)).verdict == "faster"  # the arm was: the lower end is of no account


# Censored pairs


def test_a_reference_that_misses_the_target_bounds_the_ratio_from_above():
    # Budget 16. Ratios 2/8, 1/8 and at most 2/16: powers of two 2^-2, 2^-3, 2^-3, mean 2^(-8/3); deviations in powers
    # 2/3, -1/3, -1/3, standard deviation sqrt(6/9 / 2) = 0.577350, error 1/3, upper end 2^(-8/3 + 4.302653 / 3).
    result = paired(until(16, 2, 1, 2), until(16, 8, 8, 99))
    assert result.ratio == pytest.approx(2 ** (-8 / 3))
    assert result.high == pytest.approx(2 ** (-8 / 3 + 4.302653 / 3), rel=1e-6)
    assert (result.low, result.bound, result.n, result.pairs_censored) == (None, "at most", 3, 1)
    assert result.verdict == "faster"


def test_an_arm_that_misses_the_target_bounds_the_ratio_from_below():
    # Ratios 8/2, 8/1 and at least 16/2: the reciprocals of those above.
    result = paired(until(16, 8, 8, 99), until(16, 2, 1, 2))
    assert result.ratio == pytest.approx(2 ** (8 / 3))
    assert result.low == pytest.approx(2 ** (8 / 3 - 4.302653 / 3), rel=1e-6)
    assert (result.high, result.bound, result.verdict) == (None, "at least", "slower")


def test_a_bound_on_the_other_side_forbids_a_verdict():
    # Five times a hundredth, and one that may be any multiple of 16/15: who knows.
    result = paired(until(16, 0.1, 0.1, 0.1, 0.1, 0.1, 99), until(16, 10, 10, 10, 10, 10, 15))
    assert (result.bound, result.high, result.p, result.verdict) == ("at least", None, None, "undecided")
    assert result.low < result.ratio < 1


def test_bounds_forbid_equivalence():
    # The reference misses the target by a hair in one of ten.
    result = paired(until(10, *[10] * 10), until(10, *[10] * 9, 10.01))
    assert (result.ratio, result.bound, result.low, result.verdict) == (1, "at most", None, "undecided")


def test_bounds_on_both_sides_leave_nothing():
    result = paired(until(16, 1, 99, 2), until(16, 99, 1, 2))
    assert result == PairedComparison(None, None, None, 3, 2, None, "undecided", "indication")


def test_pairs_that_say_nothing_are_left_out():
    # Both missed the target; the target was met before training.
    result = paired(until(16, 1, 1, 99, 0, 5), until(16, 2, 2, 99, 5, 0))
    assert (result.ratio, result.n, result.pairs_censored) == (0.5, 2, 0)
    assert paired(until(16, 99, 99), until(16, 99, 99)).n == 0


def test_an_arm_that_never_gets_there_is_slower_than_one_that_does_early():
    assert paired(until(16, 99, 99, 99), until(16, 4, 5, 4)).verdict == "slower"
    assert paired(until(16, 99, 99, 99), until(16, 15, 14, 15)).verdict == "undecided"


# Several arms


def test_holm_by_hand():
    # In order: 0.005 * 4, 0.01 * 3, 0.03 * 2, 0.04 * 1, which must not fall below the 0.06 before it.
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.5, 0.9]) == [1, 1]
    assert holm([]) == []


def test_a_verdict_that_holm_does_not_bear_is_undecided():
    sure, likely, undecided = (
        PairedComparison(0.5, 0.4, 0.6, 3, 0, None, verdict, "indication", p=p)
        for verdict, p in (("faster", 0.01), ("slower", 0.03), ("undecided", None))
    )
    # Three arms, the one without p counting as 1: 0.01 * 3 and 0.03 * 2.
    first, second, third = across_arms([sure, likely, undecided])
    assert first == replace(sure, p_holm=pytest.approx(0.03))
    assert second == replace(likely, p_holm=pytest.approx(0.06), verdict="undecided")
    assert third == undecided
    same = replace(sure, verdict="equivalent", p=1.0)
    assert [c.verdict for c in across_arms([same, sure])] == ["equivalent", "faster"]


# How often a verdict is false by chance


def false_verdicts(draw, arms, adjust=across_arms, repetitions=1000, **options):
    """The part of comparisons of equal arms, over log ratios whose centre is 1, in which any is faster or slower."""
    wrong = 0
    for _ in range(repetitions):
        reference = draw()
        comparisons = adjust([paired(draw(), reference, **options) for _ in range(arms)])
        wrong += any(c.verdict in ("faster", "slower") for c in comparisons)
    return wrong / repetitions


@pytest.mark.parametrize("arms", [1, 2, 4])
@pytest.mark.parametrize("n", [3, 6, 10])
def test_equal_arms_are_told_apart_in_at_most_one_comparison_of_twenty(n, arms):
    draw = lognormal(n, 0.3, seed=100 * n + arms)
    assert false_verdicts(lambda: exact(*draw()), arms) <= 0.05
    assert false_verdicts(lambda: until(1.2, *draw()), arms, repetitions=300) <= 0.05
    assert false_verdicts(lambda: rounded(0.2, *draw()), arms, repetitions=300) <= 0.05


def test_without_a_margin_equal_arms_are_told_apart_in_one_comparison_of_twenty_and_more_often_without_holm():
    draw = lognormal(6, 0.3, seed=1)
    one = false_verdicts(lambda: exact(*draw()), 1, repetitions=2500, margin=0.0)
    assert one == pytest.approx(0.05, abs=0.013)  # three standard errors
    assert false_verdicts(lambda: exact(*draw()), 4, adjust=list, margin=0.0) > 0.10


def test_arms_that_differ_are_told_apart():
    draw = lognormal(6, 0.2, seed=2)
    results = [paired(exact(*(time / 2 for time in draw())), exact(*draw())) for _ in range(200)]
    assert sum(r.verdict == "faster" for r in results) > 190
    assert sum(r.low < 0.5 < r.high for r in results) > 180
