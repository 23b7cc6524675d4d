"""Identities between strategies on a network, computed by the real loop: bit for bit, or equal up to rounding."""

from collections.abc import Iterator
from dataclasses import replace

import jobs
import numpy as np
import pytest
from distances import distance
from quadratic import train

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

PLAIN = Optimizer(SGD(), Schedule(0.1))
MADE = Synthetic(examples=240, features=5, classes=3, seed=1)
ROUNDING = {np.float32: 1e-6, np.float64: 1e-14}


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
