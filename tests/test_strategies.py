"""Strategies: weights computed by hand and in general, equal plans, and the application of a combination."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from properties import repeatable

from psgd.config.resolve import resolve
from psgd.core.replica import Progress, Replica
from psgd.data.sources.load import load_data
from psgd.jobs.build import build_job
from psgd.optimizers.optimizer import Optimizer
from psgd.optimizers.rules import SGD, Adam
from psgd.optimizers.schedule import Schedule
from psgd.strategy import presets
from psgd.strategy.plans import PacedPlan, exact_speeds
from psgd.strategy.presets import HOLDOUT
from psgd.strategy.strategy import Strategy, WorkDone

OPTIMIZER = Optimizer(SGD(), Schedule(0.1))


def gradient_averaging(workers: int) -> Strategy:
    return presets.gradient_averaging(workers, OPTIMIZER)


def parameter_averaging(workers: int) -> Strategy:
    return presets.parameter_averaging(workers, 50, OPTIMIZER)


def weighted_averaging(workers: int, *contractions: float) -> Strategy:
    return presets.weighted_averaging(
        PacedPlan(40, exact_speeds(None, workers)), OPTIMIZER, "keep", contractions or (0.9,)
    )


MAKERS = (gradient_averaging, parameter_averaging, weighted_averaging)


def weights(strategy: Strategy, steps: list[int], examples: list[int] | None = None) -> list[list[float]]:
    work = WorkDone(np.array(steps, np.int64), np.array(examples or steps, np.int64))
    result = strategy.weights.of(work)
    assert result.shape == (len(result), len(steps))
    assert result.dtype == np.float64
    return result.tolist()


# Weights by hand


def test_gradients_are_weighted_by_examples():
    assert weights(gradient_averaging(4), [1, 1, 1, 1], [10, 10, 10, 10]) == [[0.25] * 4]
    assert weights(gradient_averaging(4), [1, 1, 0, 1], [10, 20, 0, 10]) == [[0.25, 0.5, 0.0, 0.25]]
    assert weights(gradient_averaging(3), [1, 1, 1], [1, 2, 5]) == [[0.125, 0.25, 0.625]]


def test_parameters_of_all_workers_with_steps_have_equal_weights():
    assert weights(parameter_averaging(4), [50, 50, 50, 50]) == [[0.25] * 4]
    assert weights(parameter_averaging(4), [50, 0, 50, 0]) == [[0.5, 0.0, 0.5, 0.0]]
    assert weights(parameter_averaging(4), [0, 7, 0, 0]) == [[0.0, 1.0, 0.0, 0.0]]


def test_weighted_averaging_by_hand():
    """r = 1/2: 1, 1/2, 1/8 over 13/8."""
    assert weights(weighted_averaging(3, 0.5), [3, 2, 0]) == [
        [2 / 3, 1 / 3, 0]
    ]  # the idle worker has weight 0, not 1/8
    assert weights(weighted_averaging(3, 0.5), [4, 3, 1]) == [pytest.approx([8 / 13, 4 / 13, 1 / 13], rel=1e-15)]
    assert weights(weighted_averaging(3, 0.5), [1, 3, 4]) == [pytest.approx([1 / 13, 4 / 13, 8 / 13], rel=1e-15)]
    assert weights(weighted_averaging(3, 0.5), [7, 7, 7]) == [[1 / 3] * 3]


def test_weighted_averaging_of_unequal_workers():
    """Steps 40, 40, 20, 10: r^0, r^0, r^20 = 0.81790693759723, r^30 = 0.73970037338828 over 3.55760731098551."""
    pace = PacedPlan(40, exact_speeds([1, 1, 0.5, 0.25], 4))
    strategy = presets.weighted_averaging(pace, OPTIMIZER, "keep", (0.99,))
    steps = list(strategy.plan.steps(0))
    assert steps == [40, 40, 20, 10]
    by_hand = [0.2810877965401371974, 0.2810877965401371974, 0.2299036588640971222, 0.2079207480556284829]
    assert weights(strategy, steps) == [pytest.approx(by_hand, rel=1e-14)]


def test_each_contraction_gives_a_row_of_weights():
    rows = weights(weighted_averaging(2, 1.0, 0.5, 0.25), [3, 2])
    assert rows == [[0.5, 0.5], pytest.approx([2 / 3, 1 / 3]), pytest.approx([0.8, 0.2])]
    assert HOLDOUT[0] == 1.0  # uniform averaging wins ties
    assert list(HOLDOUT) == sorted(HOLDOUT, reverse=True)


@pytest.mark.parametrize(("l2", "tried"), [("0", False), ("0.002", True), ("1000", False)])
def test_the_bound_of_the_paper_is_a_candidate(l2, tried):
    overrides = ["optimizer.name=sgd", "optimizer.learning_rate=0.1", f"optimizer.l2={l2}"]
    resolved = resolve(None, [*overrides, "cluster.speeds=[1, 1, 1, 0.5]"]).settings
    candidates = build_job(resolved, load_data(resolved)).strategy.weights.contractions
    assert candidates == tuple(sorted({*HOLDOUT, *([1 - 0.1 * 0.002] if tried else [])}, reverse=True))


# Weights in general

contractions = st.lists(st.floats(0, 1, exclude_min=True), min_size=1, max_size=5)


@st.composite
def some_steps(draw: st.DrawFn) -> list[int]:
    steps = draw(st.lists(st.one_of(st.just(0), st.integers(0, 9), st.integers(0, 2**40)), min_size=1, max_size=17))
    if not any(steps):
        steps[draw(st.integers(0, len(steps) - 1))] = 1
    return steps


@repeatable
@given(some_steps(), contractions)
@pytest.mark.parametrize("make", MAKERS)
def test_weights_sum_to_1_over_workers_with_steps(make, steps, contractions):
    strategy = make(len(steps), *contractions) if make is weighted_averaging else make(len(steps))
    rows = np.array(weights(strategy, steps))
    assert np.isfinite(rows).all()
    assert (rows >= 0).all()
    np.testing.assert_allclose(rows.sum(axis=1), 1, rtol=1e-14)
    assert not rows[:, np.array(steps) == 0].any()
    fastest = int(np.argmax(steps))
    assert (rows[:, fastest] >= 1 / len(steps) - 1e-15).all()
    by_steps = rows[:, np.argsort(steps, kind="stable")]
    assert (np.diff(by_steps, axis=1) >= 0).all()  # more steps never weigh less


@repeatable
@given(some_steps(), contractions, st.randoms(use_true_random=False))
@pytest.mark.parametrize("make", MAKERS)
def test_renumbering_workers_permutes_the_weights(make, steps, contractions, random):
    order = list(range(len(steps)))
    random.shuffle(order)
    strategy = make(len(steps), *contractions) if make is weighted_averaging else make(len(steps))
    there = np.array(weights(strategy, steps))[:, order]
    np.testing.assert_allclose(weights(strategy, [steps[w] for w in order]), there, rtol=1e-13)


@repeatable
@given(some_steps(), st.integers(1, 2**40))
def test_weighted_averaging_depends_on_delays_alone(steps, more):
    """The same delays behind the fastest worker give the same weights, however many steps it took."""
    steps = [s or 1 for s in steps]
    strategy = weighted_averaging(len(steps), 0.97)
    assert weights(strategy, [s + more for s in steps]) == weights(strategy, steps)


@repeatable
@given(some_steps())
def test_contraction_1_is_parameter_averaging(steps):
    assert weights(weighted_averaging(len(steps), 1.0), steps) == weights(parameter_averaging(len(steps)), steps)


def test_a_huge_delay_has_weight_0():
    for r in (1e-300, 0.5, 0.9999):
        assert weights(weighted_averaging(3, r), [2**62, 1, 0]) == [[1.0, 0.0, 0.0]]


def test_equal_plans_give_every_worker_the_same_steps():
    for t in (0, 1, 7):
        assert gradient_averaging(3).plan.steps(t) == (1, 1, 1)
        assert parameter_averaging(3).plan.steps(t) == (50, 50, 50)


# Application of the combination


def test_the_combination_becomes_the_replica_slice_by_slice():
    for strategy in (parameter_averaging(2), weighted_averaging(2)):
        old, new = (Replica(np.full((1, 6), x), Progress()) for x in (1.0, 2.0))
        strategy.application.begin(old, new, 0.0, np.nan)(np.array([[7.0, 8.0]]), slice(2, 4))
        assert new.vectors.tolist() == [[2, 2, 7, 8, 2, 2]]
        assert (old.vectors == 1).all()


def test_a_gradient_is_a_step_from_the_old_replica():
    optimizer = Optimizer(SGD(0.5), Schedule(0.1, warmup=2.0), clip_norm=5.0)
    strategy = presets.gradient_averaging(2, optimizer)
    old, new = (Replica(np.array([[1.0, 1, 1], [2, 2, 2]]) + x, Progress()) for x in (0.0, 9.0))
    apply = strategy.application.begin(old, new, 1.0, 100.0)  # rate 1/20; halved by the norm of 10
    apply(np.array([[6.0, 8.0]]), slice(0, 2))
    np.testing.assert_allclose(new.vectors, [[0.8, 0.75, 10], [4, 5, 11]], rtol=1e-15)  # v = 2/2 + 3, 2/2 + 4
    assert old.vectors.tolist() == [[1, 1, 1], [2, 2, 2]]


@pytest.mark.parametrize("rule", [SGD(), SGD(0.5), SGD(0.5, nesterov=True), Adam(), Adam(amsgrad=True)])
def test_a_step_in_place_has_the_same_bits(rule):
    """Old and new replica are one where no loss has to be survived."""
    optimizer, draw = Optimizer(rule, Schedule(0.1)), np.random.default_rng(0)
    start = draw.random((1 + rule.moment_rows, 50), np.float32)
    gradient = draw.standard_normal((1, 50), np.float32)
    old, new, same = Replica(start.copy(), Progress()), Replica(np.empty_like(start), Progress()), start.copy()
    both = Replica(same, Progress()), Replica(same, Progress())
    for a, b in ((old, new), both):
        presets.gradient_averaging(1, optimizer).application.begin(a, b, 0.0, np.nan)(gradient.copy(), slice(0, 50))
    assert (new.vectors == same).all()
    assert (old.vectors == start).all()
    assert not (same == start).all()
