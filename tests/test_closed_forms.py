"""Means and variances in closed form, computed by the real loop and groups.

One quadratic in each of 1e5 coordinates is 1e5 replicates of a scalar chain. Symbols are those of quadratic.Problem:
r = 1 - eta lambda, and e_T = r^T e_0 - eta sum_s r^(T-s) xi_s.
"""

import jobs
import numpy as np
import pytest
from distances import distance
from quadratic import Problem, Quadratic, errors, numbers

from psgd.data.sampling.shuffle import Shuffle
from psgd.group.serial import Serial
from psgd.training.job import Job
from psgd.training.loop import Loop
from psgd.training.recorder import Recorder

ADDITIVE = Problem()
MULTIPLICATIVE = Problem(tau2=1.0)
NOISELESS = Problem(replicates=3, s2=0.0)


def check_gaussian(e: np.ndarray, bias: float, variance: float) -> None:
    """Mean, variance and mean square of Gaussian replicates, each within 5 standard errors."""
    n, mse = len(e), bias**2 + variance
    z = [
        (e.mean() - bias) / np.sqrt(variance / n),
        (e.var(ddof=1) - variance) / (variance * np.sqrt(2 / (n - 1))),
        ((e**2).mean() - mse) / np.sqrt((2 * variance**2 + 4 * bias**2 * variance) / n),
    ]
    print("z of mean, variance, mean square:", np.round(z, 2))
    assert np.abs(z).max() < 5


def check_moments(e: np.ndarray, bias: float, mse: float) -> None:
    """The same where the replicates are not Gaussian: the spread of the squares is taken from the sample."""
    z = [
        (e.mean() - bias) / np.sqrt((mse - bias**2) / len(e)),
        ((e**2).mean() - mse) / np.sqrt((e**2).var() / len(e)),
    ]
    print("z of mean, mean square:", np.round(z, 2))
    assert np.abs(z).max() < 5


# Additive noise


def test_without_noise_k_steps_are_a_power():
    for strategy in (NOISELESS.parameter_averaging(2, 5), NOISELESS.gradient_averaging(2)):
        np.testing.assert_allclose(errors(NOISELESS, strategy, 20), 3 * 0.95**10, rtol=1e-14)
    unequal = NOISELESS.weighted_averaging((4, 2), 0.9)  # two rounds: r^4 of weight 1/1.81, r^2 of weight 0.81/1.81
    factor = (0.95**4 + 0.81 * 0.95**2) / 1.81
    np.testing.assert_allclose(errors(NOISELESS, unequal, 12), 3 * factor**2, rtol=1e-14)


@pytest.mark.parametrize(
    ("steps", "power", "variance"), [(10, 0.5987369392, 0.2631852626), (50, 0.0769449753, 0.4078274752)]
)
def test_mean_and_variance_of_one_worker(steps, power, variance):
    e = errors(ADDITIVE, ADDITIVE.parameter_averaging(1, steps), steps)
    check_gaussian(e, 3 * power, variance)


@pytest.mark.parametrize("processes", [None, 2, 3])
def test_four_workers_divide_the_variance_and_not_the_bias(processes):
    e = errors(ADDITIVE, ADDITIVE.parameter_averaging(4, 50), 200, processes)
    check_gaussian(e, 3 * 0.0769449753, 0.4078274752 / 4)
    assert np.array_equal(e, errors(ADDITIVE, ADDITIVE.parameter_averaging(4, 50), 200))


def test_additive_noise_makes_every_way_of_averaging_the_same_path():
    """One shot, any period, every gradient: given the same noises, the mean of the chains is one chain."""
    one_shot = errors(ADDITIVE, ADDITIVE.parameter_averaging(4, 50), 200)
    others = [ADDITIVE.parameter_averaging(4, period) for period in (1, 2, 5, 10, 25)]
    others += [ADDITIVE.gradient_averaging(4), ADDITIVE.weighted_averaging((10, 10, 10, 10), 0.5)]
    distances = [distance(errors(ADDITIVE, other, 200), one_shot) for other in others]
    print("normwise:", distances)
    assert max(distances) < 1e-14
    assert min(distances) > 0  # the sums have other orders of additions


# Multiplicative noise


def second_moment(problem: Problem, start: float, steps: int, workers: int, period: int) -> float:
    """E e^2 after averaging every `period` steps. A step multiplies one chain's second moment by rho; averaging divides
    the part that the chains do not share by their number."""
    rho = problem.r**2 + problem.eta**2 * problem.tau2
    moment = start
    for _ in range(steps // period):
        one = rho**period * moment + problem.eta**2 * problem.s2 * (1 - rho**period) / (1 - rho)
        shared = problem.r ** (2 * period) * moment
        moment = shared + (one - shared) / workers
    return moment


@pytest.mark.parametrize(("workers", "period"), [(1, 20), (4, 20), (4, 5), (4, 1)])
def test_moments_under_multiplicative_noise(workers, period):
    problem = MULTIPLICATIVE
    e = errors(problem, problem.parameter_averaging(workers, period), 20 * workers)
    rho = 0.9125  # 0.95^2 + 0.01
    if workers == 1:
        assert second_moment(problem, 9, 20, 1, 20) == pytest.approx(rho**20 * 9 + 0.04 * (1 - rho**20) / (1 - rho))
    check_moments(e, 3 * 0.95**20, second_moment(problem, 9, 20, workers, period))


def test_multiplicative_noise_makes_the_ways_of_averaging_differ():
    problem = Problem(replicates=1000, tau2=1.0)
    one_shot = errors(problem, problem.parameter_averaging(4, 20), 80)
    every_step = errors(problem, problem.parameter_averaging(4, 1), 80)
    assert distance(every_step, one_shot) > 0.05
    assert distance(errors(problem, problem.gradient_averaging(4), 80), every_step) < 1e-14


# Unequal steps

STEPS = (60, 50, 40, 20)
FIXTURES = [  # mean squared errors in closed form
    (0.3, STEPS, 1.0, 0.10073237),
    (0.3, STEPS, 0.95, 0.14169154),
    (0.3, STEPS, 1e-40, 0.40957669),  # the fastest alone
    (3.0, STEPS, 1.0, 0.30795429),
    (3.0, STEPS, 0.95, 0.21124393),
    (3.0, STEPS, 1e-40, 0.42848751),
    (30.0, STEPS, 1.0, 21.03014628),
    (30.0, STEPS, 0.95, 7.16648289),
    (30.0, STEPS, 1e-40, 2.31956941),
    (3.0, (400, 300, 200, 100), 1.0, 0.10258316),
    (3.0, (400, 300, 200, 100), 0.95, 0.40542713),
]


@pytest.mark.parametrize(("e0", "steps", "contraction", "mse"), FIXTURES)
def test_moments_with_unequal_workers(e0, steps, contraction, mse):
    problem = Problem(replicates=100_000 if sum(steps) < 1000 else 20_000, e0=e0)
    powers = [contraction ** (max(steps) - n) for n in steps]
    q = np.array(powers) / sum(powers)
    r_n = problem.r ** np.array(steps)
    bias, variance = e0 * (q * r_n).sum(), problem.v_inf * (q**2 * (1 - r_n**2)).sum()
    assert bias**2 + variance == pytest.approx(mse, rel=1e-7)
    e = errors(problem, problem.weighted_averaging(steps, contraction), sum(steps), 2 if contraction == 0.95 else None)
    check_gaussian(e, bias, variance)


def test_with_the_true_contraction_the_bias_is_the_harmonic_mean():
    e = errors(NOISELESS, NOISELESS.weighted_averaging(STEPS, 0.95), sum(STEPS))
    harmonic = 4 / sum(0.95**-n for n in STEPS)
    np.testing.assert_allclose(e, 3 * harmonic, rtol=1e-13)


@pytest.mark.parametrize("processes", [None, 3])
@pytest.mark.parametrize(
    ("problem", "best"),
    [
        (NOISELESS, 1e-40),  # only the bias counts: the fastest alone
        (Problem(replicates=1000, e0=0.0), 1.0),  # only the noise counts: equal weights
        (Problem(replicates=1000, e0=3.0), 0.95),
    ],
)
def test_the_contraction_with_the_best_score_is_used(problem, best, processes):
    """In every order of the candidates."""
    alone = errors(problem, problem.weighted_averaging(STEPS, best), sum(STEPS))
    for candidates in ((1.0, 0.95, 1e-40), (1e-40, 0.95, 1.0), (0.95, 1e-40, 1.0)):
        chosen = errors(problem, problem.weighted_averaging(STEPS, *candidates), sum(STEPS), processes)
        assert np.array_equal(chosen, alone)


def test_ties_between_contractions_go_to_the_first():
    problem = Problem(replicates=3, e0=0.0, s2=0.0)
    strategy, data = problem.weighted_averaging((2, 1), 0.5, 1.0, 0.25), numbers(3)
    job = Job(2, strategy, Quadratic(problem), data, Shuffle(len(data.train), 1, 0), outputs=1, epochs=1.0)
    assert jobs.train(job, Serial())[1].last_weights == pytest.approx((2 / 3, 1 / 3))


@pytest.mark.parametrize(
    ("steps", "candidates", "made"),
    [
        ((2, 1), (0.95,), 1),  # nothing to choose
        ((2, 2), (1.0, 0.95, 1e-40), 1),  # all candidates are the same
        ((2,), (1.0, 0.95, 1e-40), 1),
        ((2, 1), (1.0, 0.95, 1e-40), 3),  # the last is the best
        ((2, 1), (1e-40, 0.95, 1.0), 4),  # the first is, and is combined again
        ((2, 1), (0.95, 1e-40, 1.0), 4),
    ],
)
def test_each_combination_is_counted_and_sent(steps, candidates, made):
    """Without noise the fastest alone is the best: a contraction of 1e-40. In each combination of two rounds a worker
    sends its vector of three float64, unless it is the only one."""
    strategy, workers, data = NOISELESS.weighted_averaging(steps, *candidates), len(steps), numbers(2 * sum(steps))
    job = Job(workers, strategy, Quadratic(NOISELESS), data, Shuffle(len(data.train), 1, 0), outputs=1, epochs=1.0)
    lines = []
    loop = Loop(job, Serial(), Recorder(None, len(data.train), 1.0, "", quiet=True, history=lines))
    assert loop.run().progress.combinations == 2 * made
    assert [line["combinations"] for line in lines if "loss" in line] == [made, 2 * made]
    assert loop.bytes_sent == 2 * made * 3 * 8 * (workers > 1)
