"""Means and variances in closed form, and identities between strategies, computed by the real loop and groups.

One quadratic in each of 1e5 coordinates is 1e5 replicates of a scalar chain. Symbols are those of quadratic.Problem:
r = 1 - eta lambda, and e_T = r^T e_0 - eta sum_s r^(T-s) xi_s.
"""

from collections.abc import Iterator
from dataclasses import replace

import jobs
import numpy as np
import pytest
from quadratic import Problem, Quadratic, errors, numbers, train

from psgd.config.settings import Synthetic
from psgd.core.random_streams import stream
from psgd.core.replica import Progress
from psgd.data.dataset import Data
from psgd.data.sampling.shuffle import Shuffle
from psgd.data.sources.synthetic import synthetic
from psgd.group.serial import Serial
from psgd.learners.layered_learner import WeightSettings
from psgd.learners.learner import Batch
from psgd.learners.losses import LOSSES
from psgd.learners.mlp import MLP
from psgd.optimizers.optimizer import Optimizer
from psgd.optimizers.rules import SGD, Adam
from psgd.optimizers.schedule import Schedule
from psgd.strategy.local_work import OneGradient
from psgd.strategy.plans import PacedPlan, exact_speeds
from psgd.strategy.presets import gradient_averaging, parameter_averaging, weighted_averaging
from psgd.strategy.strategy import Strategy
from psgd.training.job import Job
from psgd.training.loop import Loop
from psgd.training.recorder import Recorder

MADE = Synthetic(examples=240, features=5, classes=3, seed=1)
ADDITIVE = Problem()
MULTIPLICATIVE = Problem(tau2=1.0)
NOISELESS = Problem(replicates=3, s2=0.0)
PLAIN = Optimizer(SGD(), Schedule(0.1))
ROUNDING = {np.float32: 1e-6, np.float64: 1e-14}


def distance(a: np.ndarray, b: np.ndarray) -> float:
    a, b = a.astype(np.float64), b.astype(np.float64)
    return float(np.linalg.norm(a - b) / np.linalg.norm(b))


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


def test_progress_by_hand():
    """40 batches, of which a round takes 4 and 2: seven rounds, the last of which reaches into the second epoch."""
    strategy = weighted_averaging(PacedPlan(4, exact_speeds([1.0, 0.5], 2)), PLAIN, "keep", (0.9,))
    _, progress = jobs.train(network(strategy, 2, np.float32, epochs=1.0), Serial())
    assert progress.last_weights == pytest.approx((1 / 1.81, 0.81 / 1.81))
    assert progress._replace(last_weights=()) == Progress(
        round=7,
        position=252,
        steps=28,
        evaluated=252,
        combinations=7,
        examples=252,
        dealt=(28, 14),
        worker_steps=(28, 14),
    )


# Identities, on a network


def network(strategy: Strategy, workers: int, dtype: type, data: Data | None = None, epochs: float = 1.5) -> Job:
    learner = MLP((5, 7, 3), "tanh", "softmax", LOSSES["cross-entropy"], np.dtype(dtype), WeightSettings(l2=0.01))
    data = data or Data(synthetic(MADE)[0], None, None, "synthetic")
    return Job(workers, strategy, learner, data, Shuffle(len(data.train), 6, 3), 3, epochs=epochs, seed=3)


def serial_sgd(job: Job, optimizer: Optimizer, steps: int) -> np.ndarray:
    """Plain serial training without psgd's loop, strategies and groups: the stream's batches one after another."""
    learner, train = job.learner, job.data.train
    p = learner.initial(job.seed)
    moments, gradient = np.zeros((optimizer.moment_rows, p.size), p.dtype), np.empty_like(p)
    rows = np.concatenate([stream(job.seed, "shuffle", e).permutation(len(train)) for e in range(3)])
    X_BI, T_BO = np.ones((job.batch, train.features + 1), p.dtype), np.empty((job.batch, job.outputs), p.dtype)
    for step in range(steps):
        at = step * job.batch
        train.gather(rows[at : at + job.batch], X_BI, T_BO)
        learner.gradient(p, Batch(X_BI, T_BO, (at + job.batch / 2) / len(train)), gradient)
        optimizer.step(p, gradient, moments, step + 1, (at + job.batch / 2) / len(train))
    return p


OPTIMIZERS = {
    "sgd": PLAIN,
    "momentum, clipped, cosine": Optimizer(SGD(0.9, nesterov=True), Schedule(0.1, "cosine", 1.5, 0.2), clip_norm=0.3),
    "adam": Optimizer(Adam(), Schedule(0.01)),
    "amsgrad, step": Optimizer(Adam(amsgrad=True), Schedule(0.01, "step", decay_every=0.5)),
}


def alone(optimizer: Optimizer) -> Iterator[Strategy]:
    yield gradient_averaging(1, optimizer)
    for state in ("keep", "average"):
        yield parameter_averaging(1, 5, optimizer, state)
        yield weighted_averaging(PacedPlan(5, exact_speeds(None, 1)), optimizer, state, (0.9,))


@pytest.mark.parametrize("name", OPTIMIZERS)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_one_worker_is_serial_sgd_bit_for_bit(name, dtype):
    """Except plain SGD on a worker's own parameters, which rounds gradient and update together: equal to rounding."""
    for strategy in alone(OPTIMIZERS[name]):
        ours = train(lambda strategy=strategy: network(strategy, 1, dtype), None)
        theirs = serial_sgd(network(strategy, 1, dtype), OPTIMIZERS[name], 60)
        if OPTIMIZERS[name].plain and not isinstance(strategy.local, OneGradient):
            print("normwise:", distance(ours, theirs))
            assert distance(ours, theirs) < ROUNDING[dtype], strategy
        else:
            assert np.array_equal(ours, theirs), strategy


@pytest.mark.parametrize("name", OPTIMIZERS)
@pytest.mark.parametrize("state", ["keep", "average", "reset"])
def test_weighted_with_equal_steps_is_parameter_averaging_bit_for_bit(name, state):
    optimizer = OPTIMIZERS[name]
    for contraction in (1.0, 0.9, 0.1):
        weighted = weighted_averaging(PacedPlan(4, exact_speeds(None, 3)), optimizer, state, (contraction,))
        a = train(lambda weighted=weighted: network(weighted, 3, np.float32), None)
        b = train(lambda: network(parameter_averaging(3, 4, optimizer, state), 3, np.float32), None)
        assert np.array_equal(a, b)


@pytest.mark.parametrize("workers", [2, 3, 4, 7])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_averaging_every_plain_step_is_gradient_averaging(workers, dtype):
    averaging = parameter_averaging(workers, 1, PLAIN, "keep")
    a = train(lambda: network(averaging, workers, dtype, epochs=0.5), None)
    b = train(lambda: network(gradient_averaging(workers, PLAIN), workers, dtype, epochs=0.5), None)
    print("normwise:", distance(a, b))
    assert distance(a, b) < ROUNDING[dtype]


@pytest.mark.parametrize("name", OPTIMIZERS)
@pytest.mark.parametrize("workers", [2, 3, 4])
def test_gradient_averaging_is_one_worker_with_all_their_batches(name, workers):
    """A round's batches hold the examples of one large batch: the same steps, for any optimizer and schedule."""
    strategy = gradient_averaging(workers, OPTIMIZERS[name])
    many = network(strategy, workers, np.float64, epochs=1.0)
    large = replace(
        many,
        workers=1,
        strategy=gradient_averaging(1, OPTIMIZERS[name]),
        sampler=Shuffle(len(many.data.train), many.batch * workers, many.seed),
    )
    a, b = train(lambda: many, None), train(lambda: large, None)
    print("normwise:", distance(a, b))
    assert distance(a, b) < 1e-13


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("order", [(1, 0, 2, 3), (2, 3, 0, 1), (3, 0, 2, 1), (0, 2, 1, 3)])
def test_renumbering_workers_changes_results_only_by_rounding(order, dtype):
    """Worker order[i] gets the batches that worker i had. (Without a schedule, whose rate depends on where a batch lies
    in the stream.)"""
    data, batch = synthetic(MADE)[0], 6
    sampled = stream(3, "shuffle", 0).permutation(240).reshape(-1, 4, batch)  # (steps, workers, examples of a batch)
    rows = np.empty(240, np.int64)
    rows[sampled[:, order].ravel()] = sampled.ravel()
    permuted = data.take(rows)
    for strategy in (
        parameter_averaging(4, 5, Optimizer(SGD(0.9), Schedule(0.05), clip_norm=0.3), "keep"),
        gradient_averaging(4, PLAIN),
    ):
        a, b = (
            train(lambda s=strategy, d=d: network(s, 4, dtype, Data(d, None, None, ""), epochs=1.0), None)
            for d in (data, permuted)
        )
        print("normwise:", distance(a, b))
        assert distance(a, b) < ROUNDING[dtype]
        same_tree = order in [(1, 0, 2, 3), (2, 3, 0, 1)]  # only siblings in the tree change places, and a + b = b + a
        assert np.array_equal(a, b) == same_tree


def test_an_idle_worker_changes_no_bit():
    """The third worker is too slow to take a step in these rounds."""
    adam = OPTIMIZERS["adam"]
    three = weighted_averaging(PacedPlan(4, exact_speeds([1.0, 0.5, 0.001], 3)), adam, "keep", (0.9,))
    two = weighted_averaging(PacedPlan(4, exact_speeds([1.0, 0.5], 2)), adam, "keep", (0.9,))
    a = train(lambda: network(three, 3, np.float32), None)
    assert np.array_equal(a, train(lambda: network(two, 2, np.float32), None))


@pytest.mark.parametrize("name", jobs.NAMES)
def test_splitting_rounds_into_segments_changes_no_bit(name):
    """Segments of a single step against whole rounds, on one process and on three."""
    job = lambda: jobs.job(jobs.strategies(5)[name], 5)  # noqa: E731
    whole = train(job, None)
    assert np.array_equal(train(job, None, segment_seconds=0.0), whole)
    assert np.array_equal(train(job, 3, segment_seconds=0.0), whole)
