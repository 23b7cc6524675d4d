"""The linear model of sparse data is the dense linear model."""

import numpy as np
import pytest
from sparse_problems import FEATURES, WIDE, assert_near, dense, sparse

from psgd.data.dataset import Dataset
from psgd.data.sparse import SparseDataset
from psgd.learners.layered_learner import WeightSettings
from psgd.learners.learner import Batch, TrainState
from psgd.learners.losses import LOSSES, huber
from psgd.learners.mlp import MLP
from psgd.learners.sparse_linear import SparseLinear
from psgd.optimizers.optimizer import Optimizer
from psgd.optimizers.rules import SGD, Adam, Rule
from psgd.optimizers.schedule import Schedule

KINDS = {
    "hinge": (LOSSES["hinge"], "identity", 2),
    "huber": (huber(0.3), "identity", 0),
    "squared-error": (LOSSES["squared-error"], "identity", 0),
    "binary-cross-entropy": (LOSSES["binary-cross-entropy"], "sigmoid", 2),
}


def pair(kind: str, l1: float = 0.0, l2: float = 0.0) -> tuple[SparseDataset, SparseLinear, Dataset, MLP]:
    loss, output, classes = KINDS[kind]
    data = sparse(classes=classes)
    ours = SparseLinear(FEATURES, output, loss, WIDE, WeightSettings("constant", l1=l1, l2=l2))
    theirs = MLP((FEATURES, 1), "relu", output, loss, WIDE, WeightSettings("constant", 0.0, l1, l2))
    return data, ours, dense(data), theirs


def start() -> np.ndarray:
    return np.random.default_rng(8).normal(size=FEATURES + 1)


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
