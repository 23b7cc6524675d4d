"""Sparse data and their linear model, against the dense model and against algorithm 3 as printed."""

from dataclasses import replace
from fractions import Fraction
from functools import partial
from pathlib import Path
from pipes import Fault, run_pipes

import numpy as np
import pytest
from jobs import train

from psgd.config.resolve import resolve
from psgd.config.settings import SyntheticSparse
from psgd.core.errors import DataError, UsageError
from psgd.core.random_streams import stream
from psgd.data.dataset import Data, Dataset
from psgd.data.sampling.partition import Partition
from psgd.data.sampling.shuffle import Shuffle
from psgd.data.sources.load import load_data
from psgd.data.sources.synthetic_sparse import synthetic_sparse
from psgd.data.sparse import SparseDataset
from psgd.data.split import hold_out
from psgd.group.serial import Serial
from psgd.group.threads import run_threads
from psgd.group.transport import Transport
from psgd.jobs.build import build_job
from psgd.learners.layered_learner import WeightSettings
from psgd.learners.learner import Batch, TrainState
from psgd.learners.losses import LOSSES, Loss, huber
from psgd.learners.mlp import MLP
from psgd.learners.sparse_linear import SparseLinear
from psgd.optimizers.optimizer import Optimizer
from psgd.optimizers.rules import SGD, Adam, Rule
from psgd.optimizers.schedule import Schedule
from psgd.strategy.plans import PacedPlan
from psgd.strategy.presets import HOLDOUT, gradient_averaging, parameter_averaging, weighted_averaging
from psgd.strategy.strategy import Strategy
from psgd.training.job import Job
from psgd.training.loop import Loop
from psgd.training.recorder import Recorder
from psgd.training.steps.step_budget import StepBudget

FEATURES = 40
WIDE = np.dtype(np.float64)
KINDS = {
    "hinge": (LOSSES["hinge"], "identity", 2),
    "huber": (huber(0.3), "identity", 0),
    "squared-error": (LOSSES["squared-error"], "identity", 0),
    "binary-cross-entropy": (LOSSES["binary-cross-entropy"], "sigmoid", 2),
}


def sparse(examples: int = 60, classes: int = 2, binary: bool = False, scale: float = 1.0) -> SparseDataset:
    """Rows of 0 to 9 features, the first row and the last empty."""
    draw = np.random.default_rng(5)
    rows = [np.sort(draw.choice(FEATURES, draw.integers(1, 10), replace=False)) for _ in range(examples)]
    rows[0] = rows[-1] = np.empty(0, np.int64)
    indptr = np.cumsum([0, *map(len, rows)])
    values = None if binary else draw.normal(size=indptr[-1]).astype(np.float32)
    targets = draw.integers(0, 2, examples) if classes else draw.normal(size=(examples, 1)).astype(np.float32)
    return SparseDataset(indptr, np.concatenate(rows).astype(np.int32), values, targets, classes, FEATURES, scale)


def dense(data: SparseDataset) -> Dataset:
    """The same examples, in float64 to be as exact as the sparse ones."""
    inputs = np.zeros((len(data), data.features))
    for row in range(len(data)):
        where = slice(data.indptr[row], data.indptr[row + 1])
        inputs[row, data.indices[where]] = 1.0 if data.values is None else data.values[where]
    return Dataset(inputs * data.scale, data.targets, data.classes)


# --- the data


@pytest.mark.parametrize("binary", [True, False])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize(
    "rows",
    [np.array([3]), np.array([0]), np.array([7, 7, 0, 2]), np.array([0, 59]), slice(0, 9), slice(58, 60),
     slice(4, 9, 2), slice(0, 60)],
    ids=str,
)  # fmt: skip
def test_a_reader_gives_the_rows(binary, dtype, rows):
    data = sparse(binary=binary, scale=0.25)
    read = data.reader(60, 1, np.dtype(dtype))
    read(slice(0, 60))  # this call overwrites what an earlier one left in the buffers
    (starts, indices, values), T_BO = read(rows)
    X_BF = np.zeros((len(starts) - 1, FEATURES))
    for row in range(len(X_BF)):
        where = slice(starts[row], starts[row + 1])
        X_BF[row, indices[where]] = values[where]
    reference = dense(data)
    np.testing.assert_array_equal(X_BF, reference.inputs[rows])
    np.testing.assert_array_equal(T_BO[:, 0], reference.targets[rows])
    assert values.dtype == T_BO.dtype == dtype


def test_a_single_row_is_not_copied():
    data = sparse()
    rows, _ = data.reader(1, 1, np.dtype(np.float32))(np.array([5]))
    assert np.shares_memory(rows.indices, data.indices)
    assert np.shares_memory(rows.values, data.values)


def test_one_hot_targets_and_values():
    _, T_BO = sparse().reader(3, 2, WIDE)(slice(1, 4))
    np.testing.assert_array_equal(T_BO, np.eye(2)[sparse().targets[1:4]])
    _, T_BO = sparse(classes=0).reader(3, 1, WIDE)(np.array([4, 2]))
    np.testing.assert_array_equal(T_BO, sparse(classes=0).targets[[4, 2]])


@pytest.mark.parametrize("rows", [np.array([60]), np.array([-1]), np.array([1, -1]), np.array([1, 60])], ids=str)
def test_rows_out_of_range_are_errors(rows):
    with pytest.raises(IndexError, match="of a dataset of 60 examples"):
        sparse().reader(2, 1, WIDE)(rows)


@pytest.mark.parametrize("binary", [True, False])
@pytest.mark.parametrize("rows", [np.array([9, 0, 3]), slice(5, 20), slice(None, None, 7)], ids=str)
def test_take(binary, rows):
    data = sparse(binary=binary, scale=0.5)
    taken = data.take(rows)
    np.testing.assert_array_equal(dense(taken).inputs, dense(data).inputs[rows])
    np.testing.assert_array_equal(taken.targets, data.targets[rows])
    assert (taken.scale, taken.classes, taken.features) == (0.5, 2, FEATURES)


def test_validation_is_held_out_of_sparse_data():
    train, validation = hold_out(sparse(), 0.1, seed=3)
    assert (len(train), len(validation)) == (54, 6)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"indptr": np.arange(4)}, "indptr ends at 3"),
        ({"indptr": np.arange(4, dtype=np.int32)}, "expected int64"),
        ({"indptr": np.array([0, 2, 1, 4])}, "never fall"),
        ({"indices": np.array([0, 1, 2, 5], np.int32)}, "expected 0 to 4 for 5 features"),
        ({"indices": np.array([0, 1, -2, 3], np.int32)}, "indices lie in -2 to 3"),
        ({"targets": np.array([0, 1])}, "3 rows of inputs but 2 targets"),
        ({"targets": np.array([0, 1, 2])}, "row 2 has the label 2"),
        ({"scale": 0.0}, "scale of the inputs is 0.0"),
    ],
)
def test_arrays_that_do_not_fit_are_refused(change, said):
    good = SparseDataset(np.array([0, 2, 3, 4]), np.array([0, 1, 2, 3], np.int32), None, np.array([0, 1, 1]), 2, 5)
    with pytest.raises(DataError, match=said):
        replace(good, **change)


# --- generated data


def made(examples: int, features: int, active: int, classes: int, seed: int) -> tuple[SparseDataset, SparseDataset]:
    return synthetic_sparse(
        SyntheticSparse(examples=examples, features=features, active=active, classes=classes, seed=seed)
    )


def test_generated_data_have_the_given_shape():
    train, test = made(1100, 5000, 30, 2, 1)
    assert (len(train), len(test), train.features, train.values) == (1100, 183, 5000, None)
    rows = train.indices.reshape(1100, 30)
    assert (np.diff(rows, axis=1) > 0).all()
    np.testing.assert_allclose(np.linalg.norm(dense(train).inputs, axis=1), 1.0)
    assert 0.35 < train.targets.mean() < 0.65
    again, _ = made(1100, 5000, 30, 2, 1)
    np.testing.assert_array_equal(again.indices, train.indices)
    fewer, _ = made(600, 5000, 30, 2, 1)
    np.testing.assert_array_equal(fewer.indices[: 512 * 30], train.indices[: 512 * 30])
    other, _ = made(1100, 5000, 30, 2, 2)
    assert (other.indices != train.indices).any()
    signs, _ = made(1100, 5000, 30, 0, 1)
    np.testing.assert_array_equal(signs.targets[:, 0], 2.0 * train.targets - 1.0)


def test_every_feature_of_a_narrow_problem_is_used():
    settings = SyntheticSparse(examples=200, features=6, active=6, unit_length=False)
    train, _ = synthetic_sparse(settings)
    np.testing.assert_array_equal(dense(train).inputs, 1.0)


def test_active_features_are_limited_to_the_existing_ones():
    with pytest.raises(UsageError, match=r"data\.features is 3; expected at least data\.active = 4"):
        made(9, 3, 4, 2, 0)


# --- the learner is the dense linear model


def pair(kind: str, l1: float = 0.0, l2: float = 0.0) -> tuple[SparseDataset, SparseLinear, Dataset, MLP]:
    loss, output, classes = KINDS[kind]
    data = sparse(classes=classes)
    ours = SparseLinear(FEATURES, output, loss, WIDE, WeightSettings("constant", l1=l1, l2=l2))
    theirs = MLP((FEATURES, 1), "relu", output, loss, WIDE, WeightSettings("constant", 0.0, l1, l2))
    return data, ours, dense(data), theirs


def start() -> np.ndarray:
    return np.random.default_rng(8).normal(size=FEATURES + 1)


def assert_near(a, b):
    assert np.linalg.norm(np.subtract(a, b)) <= 1e-12 * np.linalg.norm(b)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("rows", [np.array([3]), np.array([0]), np.array([9, 4, 0, 9, 1, 59, 33])], ids=str)
@pytest.mark.parametrize(("l1", "l2"), [(0.0, 0.0), (0.0, 0.3), (0.2, 0.3)])
def test_gradient_loss_and_score(kind, rows, l1, l2):
    data, ours, reference, theirs = pair(kind, l1, l2)
    results = []
    for learner, source in ((ours, data), (theirs, reference)):
        X, T_BO = source.reader(len(rows), 1, WIDE)(rows)
        out = np.full(FEATURES + 1, np.nan)
        learner.gradient(start(), Batch(X, T_BO, 0.5), out)
        loss, right = learner.score(start(), X, T_BO)
        results.append(
            (out, [learner.read_loss(), learner.read_loss(), loss], right, learner.predict(start(), X).copy())
        )
    (a, losses, right, predicted), (b, their_losses, their_right, their_predicted) = results
    assert_near(a, b)
    assert_near(losses, their_losses)
    assert_near(predicted, their_predicted)
    if kind in ("hinge", "binary-cross-entropy"):
        assert right == their_right


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("batch", [1, 7])
@pytest.mark.parametrize(
    ("rule", "l1", "l2"),
    [(SGD(), 0.0, 0.0), (SGD(), 0.0, 0.3), (SGD(), 0.0, 20.0), (SGD(), 0.1, 0.3), (SGD(0.9), 0.0, 0.3),
     (Adam(), 0.0, 0.3)],
    ids=str,
)  # fmt: skip
def test_a_run_equals_the_dense_models(kind, batch, rule: Rule, l1, l2):
    """600 steps: the scale is multiplied into the weights after 256 and 512 steps and, with l2 = 20, whenever it is
    small (its factor is between 0 and -1 where the rate is highest)."""
    data, ours, reference, theirs = pair(kind, l1, l2)
    optimizer = Optimizer(rule, Schedule(0.08, "cosine", 1.0, 0.1))
    vectors, losses = [], []
    for learner, source in ((ours, data), (theirs, reference)):
        read = source.reader(batch, 1, WIDE)
        draw = np.random.default_rng(2)
        batches = (Batch(*read(draw.integers(0, 60, batch)), step / 600) for step in range(600))
        vector = start()
        moments, gradient = np.zeros((rule.moment_rows, vector.size)), np.empty(vector.size)
        learner.run(TrainState(vector, moments, 0, gradient), optimizer, batches)
        vectors.append(vector)
        losses.append(learner.read_loss())
    assert_near(*vectors)
    assert_near(*losses)


def test_plain_sgd_touches_the_active_features_only():
    """Otherwise the paper's 2^18 dimensions would cost a hundred times as much."""
    data = sparse()
    learner = SparseLinear(FEATURES, "identity", LOSSES["hinge"], WIDE)
    vector = np.full(FEATURES + 1, np.nan)
    rows, T_BO = data.reader(1, 1, WIDE)(np.array([5]))
    vector[[*rows.indices, FEATURES]] = 0.0
    state = TrainState(vector, vector[:0, None], 0, vector[:0])
    learner.run(state, Optimizer(SGD(), Schedule(0.1)), [Batch(rows, T_BO, 0.0)])
    assert np.isfinite(vector[[*rows.indices, FEATURES]]).all()
    assert np.isnan(np.delete(vector, [*rows.indices, FEATURES])).all()


def test_initial_parameters_are_zero():
    assert not SparseLinear(9, "identity", LOSSES["hinge"], WIDE).initial(3).any()


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
    StepBudget.steps = lambda self, left: min(left, 3)  # type: ignore[method-assign]
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
