"""Training on sparse data: the same bits in all groups, the algorithms of the paper, and jobs from a config."""

from dataclasses import replace
from fractions import Fraction
from functools import partial
from pathlib import Path
from pipes import Fault, run_pipes

import numpy as np
import pytest
from jobs import train
from short_segments import cut_segments
from sparse_problems import FEATURES, WIDE, assert_near, dense, sparse

from psgd.config.resolve import resolve
from psgd.core.errors import UsageError
from psgd.core.random_streams import stream
from psgd.data.dataset import Data
from psgd.data.sampling.partition import Partition
from psgd.data.sampling.shuffle import Shuffle
from psgd.data.sources.load import load_data
from psgd.data.split import hold_out
from psgd.group.serial import Serial
from psgd.group.threads import run_threads
from psgd.group.transport import Transport
from psgd.jobs.build import build_job
from psgd.learners.layered_learner import WeightSettings
from psgd.learners.losses import LOSSES, Loss, huber
from psgd.learners.sparse_linear import SparseLinear
from psgd.optimizers.optimizer import Optimizer
from psgd.optimizers.rules import SGD, Adam
from psgd.optimizers.schedule import Schedule
from psgd.strategy.plans import PacedPlan
from psgd.strategy.presets import HOLDOUT, gradient_averaging, parameter_averaging, weighted_averaging
from psgd.strategy.strategy import Strategy
from psgd.training.job import Job
from psgd.training.loop import Loop
from psgd.training.recorder import Recorder
from psgd.training.steps.step_budget import StepBudget

# --- through the loop


def job(strategy: Strategy, workers: int, batch: int = 3, learner: SparseLinear | None = None, mode: str = "") -> Job:
    train = sparse(240, classes=2)
    train, validation = hold_out(train, 0.1, seed=1)
    learner = learner or SparseLinear(
        FEATURES, "identity", LOSSES["hinge"], np.dtype(np.float32), WeightSettings("constant", l2=0.01)
    )
    learner.stride = 4
    sampler = Partition(216, batch, workers, 3) if mode == "partition" else Shuffle(216, batch, 3)
    data = Data(train, sparse(50), validation, "")
    return Job(workers, strategy, learner, data, sampler, outputs=1, epochs=2, seed=3, stride=learner.stride)


_sgd = Optimizer(SGD(), Schedule(0.1, "cosine", 2.0))
PACE = PacedPlan(10, tuple(map(Fraction, ("1", "1/2", "1", "1/5"))))
STRATEGIES = {
    "one shot": parameter_averaging(4, 36, _sgd, "keep"),
    "parameter-averaging": parameter_averaging(4, 7, _sgd, "keep"),
    "parameter-averaging, adam": parameter_averaging(4, 7, Optimizer(Adam(), Schedule(0.01)), "keep"),
    "weighted-averaging": weighted_averaging(PACE, _sgd, "keep", HOLDOUT),
    "gradient-averaging": gradient_averaging(4, Optimizer(SGD(0.9), Schedule(0.1), clip_norm=0.5)),
}


@pytest.mark.parametrize("batch", [1, 3])
@pytest.mark.parametrize("name", STRATEGIES)
def test_splitting_rounds_into_segments_changes_no_bit(monkeypatch, name, batch):
    results, cuts = [], []
    for wanted in (1, 3, 5, 10**9):
        lengths = []

        def budget(self, left, wanted=wanted):
            return min(left, wanted)

        def took(self, steps, seconds, lengths=lengths):
            lengths.append(steps)

        with monkeypatch.context() as patch:
            patch.setattr(StepBudget, "steps", budget)
            patch.setattr(StepBudget, "took", took)
            results.append(train(job(STRATEGIES[name], 4, batch), Serial()))
        cuts.append(lengths)
    assert results == [results[0]] * 4
    if name != "gradient-averaging":
        assert len(cuts[0]) > len(cuts[-1]), "no round was split"
        assert max(cuts[0]) == 4
        assert max(cuts[-1]) > 4


def train_by_name(name: str, transport: Transport) -> object:
    return train(job(STRATEGIES[name], 4), transport)


def train_in_short_segments(name: str, directory: Path, transport: Transport) -> object:
    """For a process of its own."""
    cut_segments()
    return train(job(STRATEGIES[name], 4), transport, directory, checkpoint_seconds=0.0)


@pytest.mark.parametrize("name", STRATEGIES)
def test_all_groups_have_the_same_bits(name):
    expected = train(job(STRATEGIES[name], 4), Serial())
    for processes in (2, 3):
        assert run_threads(processes, 20.0, lambda t: train(job(STRATEGIES[name], 4), t)) == [expected] * processes
        piped = run_pipes(processes, partial(train_by_name, name))
        assert piped.results == dict.fromkeys(range(processes), expected)


@pytest.mark.parametrize("name", ["one shot", "weighted-averaging"])
def test_a_lost_process_changes_no_bit(name, tmp_path):
    """Killed in the middle of rounds; the survivors adopt its workers. Checkpoints are taken at every exchange."""
    expected = train(job(STRATEGIES[name], 4), Serial())
    for event in (4, 7, 12):
        main = partial(train_in_short_segments, name, tmp_path / str(event))
        outcome = run_pipes(3, main, [Fault(event, 1, "torn")])
        assert outcome.lost == [1]
        assert outcome.results == {0: expected, 2: expected}


def algorithm_3(inputs, signs, derivative, k, rate, l2, seed):
    """SimuParallelSGD as printed in Zinkevich et al. 2010, with a bias that l2 leaves alone; one example a step."""
    m, features = inputs.shape
    T = m // k
    shards = stream(seed, "partition").permutation(m)[: k * T].reshape(k, T)
    v = np.zeros(features + 1)
    for i in range(k):
        w, b = np.zeros(features), 0.0
        for j in shards[i][stream(seed, "local shuffle", i, 0).permutation(T)]:
            g = derivative(inputs[j] @ w + b, signs[j])
            w = w - rate * (g * inputs[j] + l2 * w)
            b = b - rate * g
        v += np.append(w, b) / k
    return v


def hinge_derivative(z: float, y: float) -> float:
    return -y if y * z < 1 else 0.0


def huber_derivative(z: float, y: float) -> float:
    return float(np.clip(z - y, -0.3, 0.3))


@pytest.mark.parametrize(("loss", "derivative"), [(LOSSES["hinge"], hinge_derivative), (huber(0.3), huber_derivative)])
@pytest.mark.parametrize("processes", [0, 2])
def test_partition_is_algorithm_3(loss: Loss, derivative, processes, tmp_path):
    k, rate, l2, seed = 4, 0.1, 0.05, 9
    data = sparse(250)  # 62 examples a worker; 2 are dropped
    signs = 2.0 * data.targets - 1.0
    if loss is not LOSSES["hinge"]:  # the hinge takes labels 0 and 1
        data = replace(data, classes=0, targets=signs[:, None].astype(np.float32))
    strategy = parameter_averaging(k, 62, Optimizer(SGD(), Schedule(rate)), "keep")

    def main(transport):
        learner = SparseLinear(FEATURES, "identity", loss, WIDE, WeightSettings("constant", l2=l2))
        learner.stride = 16
        sampler = Partition(250, 1, k, seed)
        one = Job(k, strategy, learner, Data(data, None, None, ""), sampler, 1, 1, seed, stride=learner.stride)
        replica = Loop(one, transport, Recorder(None, 248, 1, "", quiet=True)).run()
        assert (replica.progress.round, replica.progress.worker_steps) == (1, (62,) * k)
        return replica.parameters.copy()

    expected = algorithm_3(dense(data).inputs, signs, derivative, k, rate, l2, seed)
    for result in run_threads(processes, 20.0, main) if processes else [main(Serial())]:
        assert_near(result, expected)


# --- from a config

LINEAR = ("model.hidden=[]", "model.loss=hinge")
SMALL = ("data.source=synthetic-sparse", "data.examples=300", "data.features=500", "data.active=5", "workers=2")


def built(*overrides: str) -> Job:
    settings = resolve(None, [*SMALL, *overrides]).settings
    return build_job(settings, load_data(settings))


def test_one_round_of_a_partition_uses_all_examples_of_the_shards():
    one_shot = ("strategy.name=parameter-averaging", "strategy.period=end", "training.epochs=5", "workers=4")
    job = built(*LINEAR, "data.mode=partition", "data.examples=319", "training.batch_size_per_worker=10", *one_shot)
    assert job.sampler.examples < len(job.data.train)
    assert sum(job.strategy.plan.steps(0)) * job.batch == job.end == 5 * job.sampler.examples


def test_a_config_builds_a_sparse_job():
    one = built(*LINEAR, "optimizer.name=sgd")
    assert isinstance(one.learner, SparseLinear)
    assert (one.learner.size, one.outputs, one.stride) == (501, 1, 256)
    assert built("model.hidden=[]", "model.loss=huber", "data.classes=0", "data.validation=0.1").data.validation


@pytest.mark.parametrize(
    ("overrides", "said"),
    [
        (("model.loss=hinge",), r"model.hidden is \[64\], but synthetic-sparse data are sparse"),
        (("model.hidden=[]",), "model.loss is cross-entropy, but the linear model"),
        ((*LINEAR, "data.classes=0"), r"data.classes is 0 \(regression\)"),
        ((*LINEAR, "data.classes=3"), "data.classes is 3; it must be 2, or 0"),
        ((*LINEAR, "model.output=tanh"), "model.output is tanh, but on sparse data hinge needs identity"),
    ],
)
def test_settings_that_the_sparse_model_cannot_use_are_errors(overrides, said):
    with pytest.raises(UsageError, match=said):
        built(*overrides)


def test_the_model_file(tmp_path):
    from safetensors.numpy import load_file

    from psgd.learners.model_file import write_model

    one = built(*LINEAR)
    parameters = np.arange(501, dtype=np.float32)
    settings = resolve(None, [*SMALL, *LINEAR]).settings
    write_model(tmp_path / "model", settings.model, one.learner, parameters, one.data)
    arrays = load_file(tmp_path / "model")
    np.testing.assert_array_equal(arrays["weights"], parameters[:500, None])
    np.testing.assert_array_equal(arrays["bias"], [500.0])
