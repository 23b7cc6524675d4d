"""Optimizers: steps, schedules and clipping computed by hand, and updates by slices."""

import itertools
import math
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from optimizer_rules import RULES
from properties import repeatable

from psgd.core.blocks import BLOCK_ELEMENTS, blocks, squared_norm
from psgd.optimizers.optimizer import Optimizer
from psgd.optimizers.rules import SGD, Adam, Rule
from psgd.optimizers.schedule import Schedule

HAND = Adam(beta1=0.5, beta2=0.75, epsilon=0.5)


def update(rule: Rule) -> Callable[..., None]:
    """The elementwise step of a rule: (p, g, state, count, rate)."""
    step = Optimizer(rule, Schedule(0.0)).update
    return lambda p, g, state, count, rate: step(p, g, state, rule.factors(count, rate), p, state)


def path(rule: Rule, gradients: list[float], rate: float = 0.1, dtype: type = np.float64) -> list[float]:
    """A parameter that starts at 1, after each step."""
    p, state, result = np.ones(1, dtype), np.zeros((rule.moment_rows, 1), dtype), []
    for count, g in enumerate(gradients, 1):
        update(rule)(p, np.array([g], dtype), state, count, rate)
        result.append(float(p[0]))
    return result


@pytest.mark.parametrize(
    ("rule", "gradients", "by_hand"),
    [
        (SGD(), [2, 1, -1], [0.8, 0.7, 0.8]),
        (SGD(0.5), [2, 1, -1], [0.8, 0.6, 0.6]),  # v: 2, 2, 0
        (SGD(0.5, nesterov=True), [2, 1, -1], [0.7, 0.5, 0.6]),  # g + v / 2: 3, 2, -1
        # m: 1, -1/2, -1/4 over 1/2, 3/4, 7/8; v: 1, 7/4, 21/16 over 1/4, 7/16, 37/64
        (HAND, [2, -2, 0], [0.92, 0.92 + 0.2 / 3 / 2.5, 0.9609043883901509]),
        # the largest v stays 7/4
        (Adam(0.5, 0.75, 0.5, amsgrad=True), [2, -2, 0], [0.92, 0.92 + 0.2 / 3 / 2.5, 0.9594227063629404]),
    ],
)
def test_rules_by_hand(rule, gradients, by_hand):
    assert path(rule, gradients) == pytest.approx(by_hand, rel=1e-14)
    assert path(rule, gradients, dtype=np.float32) == pytest.approx(by_hand, rel=1e-6)


def test_state_by_hand():
    p, state = np.ones(1), np.zeros((3, 1))
    rule = Adam(0.5, 0.75, 0.5, amsgrad=True)
    for count, g in enumerate([2.0, -2.0, 0.0], 1):
        update(rule)(p, np.array([g]), state, count, 0.1)
    m, v, largest = -0.25, 1.3125, 1.75
    assert state[:, 0].tolist() == [m / 0.5, v / 0.25, largest / 0.25]


def test_the_first_step_of_adam_is_the_rate():
    """For a gradient of any size: both bias corrections cancel exactly, so that a wrong step count would show."""
    for g in (1e-3, 1.0, 1e3):
        assert path(Adam(epsilon=1e-30), [g], rate=0.25) == pytest.approx([0.75], rel=1e-14)


@pytest.mark.parametrize(("rule", "rows"), [(SGD(), 0), (SGD(0.9), 1), (Adam(), 2), (Adam(amsgrad=True), 3)])
def test_rows_of_state(rule, rows):
    assert Optimizer(rule, Schedule(0.1)).moment_rows == rows


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@repeatable
@given(cuts=st.lists(st.integers(0, 300), max_size=6), seed=st.integers(0, 2**32 - 1))
def test_updates_by_slices_equal_one_update_bit_for_bit(rule, dtype, cuts, seed):
    draw = np.random.Generator(np.random.Philox(seed))
    whole, state = draw.normal(size=300).astype(dtype), np.zeros((rule.moment_rows, 300), dtype)
    cut, cut_state = whole.copy(), state.copy()
    edges = [0, *sorted(cuts), 300]
    for count in (1, 2, 3):
        gradient = draw.normal(size=300).astype(dtype)
        parts = gradient.copy()
        update(rule)(whole, gradient, state, count, 0.01)
        for left, right in itertools.pairwise(edges):
            update(rule)(cut[left:right], parts[left:right], cut_state[:, left:right], count, 0.01)
    assert np.array_equal(whole, cut)
    assert np.array_equal(state, cut_state)


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("clip_norm", [None, 1.0])
@pytest.mark.parametrize("size", [1, BLOCK_ELEMENTS, 2 * BLOCK_ELEMENTS + 5])
def test_a_step_goes_over_all_blocks(rule, clip_norm, size):
    draw = np.random.Generator(np.random.Philox(size))
    optimizer = Optimizer(rule, Schedule(0.01), clip_norm)
    p, state = draw.normal(size=size), np.zeros((rule.moment_rows, size))
    q, other = p.copy(), state.copy()
    for count in (1, 2):
        gradient = draw.normal(size=size) + 2.0
        norm = math.sqrt(math.fsum(gradient**2))
        clipped = gradient if clip_norm is None else gradient * min(1.0, clip_norm / norm)
        optimizer.step(p, gradient.copy(), state, count, 0.0)
        update(rule)(q, clipped.copy(), other, count, 0.01)
    np.testing.assert_allclose(p, q, rtol=1e-12)
    np.testing.assert_allclose(state, other, rtol=1e-12)
    if clip_norm is None:
        assert np.array_equal(p, q)


def test_blocks_cover_in_order():
    assert list(blocks(0, 0)) == []
    assert list(blocks(0, BLOCK_ELEMENTS)) == [slice(0, BLOCK_ELEMENTS)]
    assert list(blocks(BLOCK_ELEMENTS, 2 * BLOCK_ELEMENTS + 7)) == [
        slice(BLOCK_ELEMENTS, 2 * BLOCK_ELEMENTS),
        slice(2 * BLOCK_ELEMENTS, 2 * BLOCK_ELEMENTS + 7),
    ]


# Clipping


def clipped(gradient: list[float], clip_norm: float | None, dtype: type = np.float64) -> list[float]:
    """What plain SGD of rate 1 subtracts from a parameter of 0."""
    optimizer = Optimizer(SGD(), Schedule(1.0), clip_norm)
    p = np.zeros(len(gradient), dtype)
    optimizer.step(p, np.array(gradient, dtype), np.zeros((0, len(gradient)), dtype), 1, 0.0)
    return (-p).tolist()


def test_clipping_by_hand():
    assert clipped([3.0, 4.0], 1.0) == pytest.approx([0.6, 0.8])
    assert clipped([3.0, -4.0], 2.5) == pytest.approx([1.5, -2.0])
    assert clipped([0.3, 0.4], 1.0) == [0.3, 0.4]  # shorter than allowed: unchanged
    assert clipped([1.2, 1.6], 2.5) == [1.2, 1.6]
    assert clipped([3.0, 4.0], 5.0) == [3.0, 4.0]
    assert clipped([0.36, 0.48], 0.5) == pytest.approx([0.3, 0.4])  # its square would be short enough
    assert clipped([3.0, 4.0], None) == [3.0, 4.0]
    assert clipped([0.0, 0.0], 1.0) == [0.0, 0.0]


def test_the_square_of_a_long_gradient_does_not_overflow():
    assert squared_norm(np.full(4, 1e30, np.float32)) == pytest.approx(4e60, rel=1e-6)
    assert clipped([1e30, 0.0], 1.0, np.float32) == pytest.approx([1.0, 0.0])


def test_clipping_comes_before_momentum():
    optimizer = Optimizer(SGD(0.5), Schedule(1.0), 1.0)
    p, state = np.zeros(1), np.zeros((1, 1))
    optimizer.step(p, np.array([8.0]), state, 1, 0.0)
    optimizer.step(p, np.array([8.0]), state, 2, 0.0)
    assert p.tolist() == [-2.5]  # 1, then 1 + 1/2


# Schedules


@pytest.mark.parametrize(
    ("schedule", "points"),
    [
        (Schedule(0.2), {0.0: 0.2, 0.5: 0.2, 99.0: 0.2}),
        (Schedule(0.2, "step", decay_every=2.0, decay_factor=0.5), {0: 0.2, 1.99: 0.2, 2: 0.1, 3.9: 0.1, 4: 0.05}),
        (Schedule(0.2, "step", decay_every=0.5), {0.49: 0.2, 0.5: 0.02, 1.0: 0.002}),
        # half a cosine: 1/2 in the middle, (2 + sqrt 2)/4 at a quarter
        (Schedule(0.2, "cosine", 4.0), {0: 0.2, 1: 0.1 + 0.1 / math.sqrt(2), 2: 0.1, 4: 0.0, 5: 0.0}),
        (Schedule(0.2, warmup=2.0), {0.5: 0.05, 1.0: 0.1, 1.5: 0.15, 2.0: 0.2, 3.0: 0.2}),
        # the cosine takes what the warm-up leaves: 2 to 6
        (Schedule(0.2, "cosine", 6.0, warmup=2.0), {1: 0.1, 2: 0.2, 3: 0.1 + 0.1 / math.sqrt(2), 4: 0.1, 6: 0.0}),
        (Schedule(0.2, "step", warmup=1.0, decay_every=1.5, decay_factor=0.5), {0.5: 0.1, 1.2: 0.2, 1.5: 0.1}),
        (Schedule(0.2, "cosine", 1.0, warmup=1.0), {0.5: 0.1, 1.0: 0.2, 1.1: 0.0}),  # nothing is left
    ],
)
def test_schedules_by_hand(schedule, points):
    assert [schedule.rate(epoch) for epoch in points] == pytest.approx(list(points.values()), abs=1e-15)


def test_a_step_uses_the_schedules_rate():
    optimizer = Optimizer(SGD(), Schedule(0.2, warmup=2.0))
    p = np.zeros(1)
    optimizer.step(p, np.ones(1), np.zeros((0, 1)), 1, 0.5)
    assert p[0] == pytest.approx(-0.05)
