"""Statistics of times to a target over few seeds: summaries of one arm, and the paired comparison of two.

The seed is the unit: both arms train from the same initial parameters on the same data for each seed, so that times are
compared as ratios seed by seed. Resampling is not used: with 3 to 10 seeds intervals of the paired t test cover what
they promise, those of the percentile bootstrap do not (75 % in place of 95 % with three seeds).

**Interval.** The interval of the mean log ratio is, on each side, the wider of two:
- that of the paired t test, for the spread over seeds;
- that of the paired t test of what the ratio of each pair is at least (for the lower end), or at most. A time lies
  between two evaluations, so the ratio lies between (arm's earliest / reference's latest) and (arm's latest /
  reference's earliest). A run that missed the target is censored: had it gone on, it might have taken for ever, so the
  ratio of its pair is only bounded.
So errors of rounding and of sampling add: an arm with few evaluations is reported late on all seeds. Simulated with
log-normal times and 3 to 20 seeds, each end misses the mean in 2.7 % or less, also if one arm needs 10 evaluations and
the other hundreds; where the interval was no more than the wider of the t test and the mean of the bounds, in up to
13 %, and 45 % if the arm with few evaluations hardly varies. It costs power where evaluations are few: with 5 seeds of
a standard deviation of 10 %, the interval is wider by 1 % if both arms need 1,000 evaluations, 4 % at 200, 15 % at 50.

**Verdict.** The margin is the smallest difference that matters, 5 %; the verdict is where the whole interval lies:
- faster: below 1 - margin; slower: above 1 / (1 - margin); equivalent: between them;
- undecided: anything else. To exclude 1 is not enough: an interval of 0.90 to 0.99 does not exclude a difference that
  does not matter (and that is smaller than the error of a modelled clock).
Swapping the arms swaps faster and slower. Each of the three is wrong at most as often as the interval is (5 %).

**Censored pairs.** Where one run missed the target, the ratio with its budget in place of its time is a bound: "at
most" if it was the reference, "at least" if it was the arm. The t interval takes the bound as the value, which is
the cautious choice for the only verdict that is left: with an "at most" pair the interval has no lower end, so the arm
can be faster but neither slower nor equivalent; with an "at least" pair the reverse; with both it is undecided. A pair
in which both missed it says nothing, and is left out.

**Few seeds.** One pair is undecided. Two to five pairs give an indication, six and more a verdict. Equal ratios on all
seeds are no certainty: the spread is taken to be no smaller than what rounding to evaluations gives, and at least 0.5 %
(LEAST_SPREAD). Times that are equal on all seeds, and exact or of the same runs, are so equivalent from two seeds on.

**False verdicts.** Simulated for equal arms with 2 to 10 seeds, one to four arms, censored and rounded times or not, at
most 5 % of comparisons have any "faster" or "slower", strongly skewed log times included. The t interval fails for a
strongly skewed arm against one that hardly varies: then 6 to 14 % of equal geometric means are called different.

scipy.special has the t distribution; scipy.stats, which wraps it, takes most of a second to import."""

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from statistics import fmean, median
from typing import Literal, NamedTuple

from psgd.compare.analysis.crossing import Crossing

Verdict = Literal["faster", "slower", "equivalent", "undecided"]
Bound = Literal["at least", "at most"]

MARGIN = 0.05  # ratios of times between 1 - MARGIN and its inverse are differences that do not matter
LEVEL = 0.95  # of intervals
LEAST_SPREAD = 0.005  # standard deviation of a log ratio: no time is believed to repeat better than to half a percent
PAIRS_FOR_A_VERDICT = 6  # fewer pairs give an indication


class Summary(NamedTuple):
    """Times of one arm: `reached` of `of` runs reached the target.

    `median` is over all runs, as `median_of_all` has it.
    `restricted_mean` is the mean with the budget in place of a time that was not reached: compare it only between arms
    whose budgets take the same time."""

    reached: int
    of: int
    median: float | None
    restricted_mean: float


@dataclass(frozen=True)
class PairedComparison:
    """The times of an arm over those of the reference; below 1 the arm is faster. The module says how.

    `ratio` is the geometric mean, a bound itself where `bound` is not None; None where there are bounds on both sides,
    or no pair. `low` and `high` are the ends of the interval, None where it has no end. `n` counts the pairs used,
    `pairs_censored` those of them in which one run missed the target. `p`: of a difference no larger than the margin,
    two-sided; None where the bounds allow no verdict on the side of `ratio`. `p_holm`: adjusted for several arms."""

    ratio: float | None
    low: float | None
    high: float | None
    n: int
    pairs_censored: int
    bound: Bound | None
    verdict: Verdict
    strength: Literal["indication", "verdict"]
    p: float | None = None
    p_holm: float | None = None


def summarize_times(times: Sequence[Crossing]) -> Summary:
    """Summarize the times of an arm's runs, one a seed. ValueError if there is none."""
    if not times:
        raise ValueError("an arm without runs has no times")
    reached = sum(time.reached for time in times)
    middle = median_of_all([time.high for time in times if time.reached], len(times))
    return Summary(reached, len(times), middle, fmean(time.high for time in times))


def median_of_all(reached: Sequence[float], runs: int) -> float | None:
    """The median over all `runs` of what they need to reach the target, given of those that reached it: the others need
    infinitely much. None unless more than half reached it."""
    return median([*reached, *[math.inf] * (runs - len(reached))]) if 2 * len(reached) > runs else None


class _Pair(NamedTuple):
    """The log ratio of one seed: what is taken for it, and between which ends it lies for certain."""

    value: float
    low: float
    high: float
    rounding: float  # variance of the value from rounding times up to evaluations
    bound: Bound | None


def paired(
    arm: Mapping[int, Crossing],
    reference: Mapping[int, Crossing],
    margin: float = MARGIN,
    level: float = LEVEL,
    same_runs: Collection[int] = (),
) -> PairedComparison:
    """Compare the times of an arm with those of the reference, by seed; seeds that one of them lacks are left out.

    Seeds at which a time is zero are left out as well: the target was met before training. `same_runs` are the seeds at
    which both arms trained the same bits (their runs have one hash): they crossed the target at the same step, so that
    rounding to evaluations cancels."""
    found = [_pair(arm[seed], reference[seed], seed in same_runs) for seed in sorted(arm.keys() & reference.keys())]
    pairs = [pair for pair in found if pair is not None]
    n = len(pairs)
    values, lows, highs, roundings, bounded = zip(*pairs, strict=True) if pairs else ((),) * 5
    mean = math.fsum(values) / n if n else 0.0
    kinds = set(bounded) - {None}
    p: float | None = None
    low, high = -math.inf, math.inf
    edge = -math.log1p(-margin)
    if n >= 2:
        reported = _mean(values, max(sum(roundings) / n, LEAST_SPREAD**2))
        least, most, reach = _mean(lows), _mean(highs), _t_quantile(n - 1, level)
        low = min(each.value - reach * each.error for each in (reported, least))
        high = max(each.value + reach * each.error for each in (reported, most))
        if math.isfinite(high if mean < 0 else low):
            p = _p_value(n - 1, (abs(mean) - edge) / reported.error)
    return PairedComparison(
        ratio=math.exp(mean) if n and len(kinds) < 2 else None,
        low=math.exp(low) if low > -math.inf else None,
        high=math.exp(high) if high < math.inf else None,
        n=n,
        pairs_censored=n - bounded.count(None),
        bound=kinds.pop() if len(kinds) == 1 else None,
        verdict=_verdict(low, high, edge),
        strength="verdict" if n >= PAIRS_FOR_A_VERDICT else "indication",
        p=p,
    )


def across_arms(comparisons: Sequence[PairedComparison], level: float = LEVEL) -> list[PairedComparison]:
    """Adjust the comparisons of several arms with one reference, so that the chance of *any* false "faster" or "slower"
    is at most 1 - level: such verdicts whose p value after Holm is larger become undecided. "Equivalent" stays: it is
    not what one fishes for among arms. A comparison without a p value counts as one with p = 1."""
    adjusted = holm([1.0 if comparison.p is None else comparison.p for comparison in comparisons])
    return [
        comparison if comparison.p is None else _adjusted(comparison, p, level)
        for comparison, p in zip(comparisons, adjusted, strict=True)
    ]


def holm(p_values: Sequence[float]) -> list[float]:
    """Adjust p values for several tests by Holm's step-down method (1979), in the order given.

    The k-th smallest of m is multiplied by m - k + 1; none is made smaller than one before it, nor larger than 1."""
    m = len(p_values)
    adjusted = [1.0] * m
    largest = 0.0
    for before, index in enumerate(sorted(range(m), key=p_values.__getitem__)):
        largest = max(largest, min(1.0, (m - before) * p_values[index]))
        adjusted[index] = largest
    return adjusted


def _pair(arm: Crossing, reference: Crossing, same_run: bool) -> _Pair | None:
    if not (arm.reached or reference.reached) or min(arm.high, reference.high) <= 0:
        return None
    value = math.log(arm.high / reference.high)
    if not reference.reached:
        return _Pair(value, -math.inf, value, _rounding(arm), "at most")
    if not arm.reached:
        return _Pair(value, value, math.inf, _rounding(reference), "at least")
    if same_run:
        return _Pair(value, value, value, 0.0, None)
    low = math.log(arm.low / reference.high) if arm.low > 0 else -math.inf
    high = math.log(arm.high / reference.low) if reference.low > 0 else math.inf
    return _Pair(value, low, high, _rounding(arm) + _rounding(reference), None)


class _Mean(NamedTuple):
    """The mean of numbers, one a seed, and its standard error."""

    value: float
    error: float


def _mean(values: Sequence[float], least: float = 0.0) -> _Mean:
    """`least`: the variance is taken to be no smaller. Without an error where a value is infinite."""
    n, mean = len(values), sum(values) / len(values)
    variance = sum((value - mean) ** 2 for value in values) / (n - 1) if math.isfinite(mean) else 0.0
    return _Mean(mean, math.sqrt(max(variance, least) / n))


def _rounding(time: Crossing) -> float:
    """The variance of the logarithm of a time that is uniform between `low` and `high`."""
    part = time.low / time.high
    if part > 0.99:
        return (1 - part) ** 2 / 12  # the formula below cancels; they agree to 1 % here
    return 1 - part * (math.log(part) / (1 - part)) ** 2 if part > 0 else 1.0


def _verdict(low: float, high: float, edge: float) -> Verdict:
    if high < -edge:
        return "faster"
    if low > edge:
        return "slower"
    return "equivalent" if -edge < low and high < edge else "undecided"


def _adjusted(comparison: PairedComparison, p: float, level: float) -> PairedComparison:
    claimed = comparison.verdict in ("faster", "slower")
    return replace(comparison, p_holm=p, verdict="undecided" if claimed and p > 1 - level else comparison.verdict)


@cache
def _t_quantile(freedom: int, level: float) -> float:
    """How many standard errors a two-sided interval reaches on each side."""
    from scipy.special import stdtrit

    return float(stdtrit(freedom, (1 + level) / 2))


def _p_value(freedom: int, errors: float) -> float:
    """The two-sided p value of a mean that is this many standard errors beyond the margin; 1 within it."""
    from scipy.special import stdtr

    return 2 * float(stdtr(freedom, -errors)) if errors > 0 else 1.0
