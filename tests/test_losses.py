"""Losses and scores, computed by hand."""

import math

import numpy as np
import pytest
from learner_batches import FLOAT64, THRESHOLD, loss_of, some_batch, some_parameters

from psgd.learners.layered_learner import WeightSettings
from psgd.learners.learner import Batch
from psgd.learners.losses import LOSSES
from psgd.learners.mlp import MLP


@pytest.mark.parametrize(
    ("loss", "A", "T", "value"),
    [
        ("squared-error", [[1.0, 2.0], [0.0, 3.0]], [[0.0, 0.0], [0.0, 1.0]], 4.5),  # (1 + 4 + 0 + 4) / 2
        ("cross-entropy", [[0.5, 0.25, 0.25], [0.25, 0.5, 0.25]], [[1, 0, 0], [1, 0, 0]], 3 * math.log(2)),
        ("binary-cross-entropy", [[0.5], [0.25], [0.75]], [[1], [0], [1]], math.log(2) + 2 * math.log(4 / 3)),
        ("hinge", [[0.5], [-2.0], [3.0], [0.25]], [[1], [0], [1], [0]], 0.5 + 0 + 0 + 1.25),
        ("huber", [[0.2, -1.0], [3.0, 0.0]], [[0.0, 0.0], [0.0, 0.0]], 0.02 + 0.4 * 0.8 + 0.4 * 2.8),
    ],
)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_losses_by_hand(loss, A, T, value, dtype):
    A, T = np.array(A, dtype), np.array(T, dtype)
    if loss == "cross-entropy":
        A = np.log(A)
    elif loss == "binary-cross-entropy":
        A = np.log(A / (1 - A))
    assert loss_of(loss).value(A.T, T.T) == pytest.approx(value, rel=1e-6 if dtype == np.float32 else 1e-13)


LOGITS = [0.0, *(sign * 10.0**k for sign in (-1, 1) for k in np.arange(-4.0, 4.1, 0.5)), -17.0, 17.0, 104.0, -104.0]
EXACT = {  # (logit, whether the target is 1) -> loss, in float64
    "squared-error": lambda z, t: (z - t) ** 2 / 2,
    "cross-entropy": lambda z, t: np.logaddexp(0.0, -z if t else z),  # of the logits z and 0
    "binary-cross-entropy": lambda z, t: np.logaddexp(0.0, -z if t else z),
    "hinge": lambda z, t: max(0.0, 1.0 - (z if t else -z)),
    "huber": lambda z, t: THRESHOLD * (abs(z - t) - THRESHOLD / 2) if abs(z - t) > THRESHOLD else (z - t) ** 2 / 2,
}


@pytest.mark.parametrize("repeated", [1, 2000])  # losses of small batches are summed later than those of large ones
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("loss", EXACT)
def test_reported_losses_of_logits_however_large(loss, dtype, repeated):
    """In training and in evaluation, for either target; with 17, a sigmoid in float32 is 1."""
    softmax = loss == "cross-entropy"
    learner = MLP(
        (1, 2 if softmax else 1), "relu", loss_of(loss).canonical or "identity", loss_of(loss), np.dtype(dtype)
    )
    p, gradient = np.zeros(learner.size, dtype), np.empty(learner.size, dtype)
    p[0] = 1.0  # the first logit is the input, the second 0
    for z in LOGITS:
        for target in (0, 1):
            X_BI = np.tile(np.array([z, 1.0], dtype), (repeated, 1))
            T_BO = np.tile(np.array([target, 1 - target] if softmax else [target], dtype), (repeated, 1))
            exact = pytest.approx(
                repeated * EXACT[loss](float(dtype(z)), target), rel=1e-5, abs=repeated * float(np.finfo(dtype).eps)
            )
            with np.errstate(all="ignore"):
                assert learner.score(p, X_BI, T_BO)[0] == exact, (z, target)
                learner.gradient(p, Batch(X_BI, T_BO, 0.0), gradient)
            assert learner.read_loss() == exact, (z, target)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize(
    ("loss", "output"), [("cross-entropy", "softmax"), ("binary-cross-entropy", "sigmoid"), ("hinge", "identity")]
)
def test_loss_and_gradient_are_finite_where_a_wrong_output_is_saturated(loss, output, dtype):
    """Outputs so far on the wrong side that a probability rounds to 0 or 1."""
    mlp = MLP((2, 3), "relu", output, LOSSES[loss], np.dtype(dtype))
    p, gradient = np.zeros(mlp.size, dtype), np.empty(mlp.size, dtype)
    mlp.layout.views(p)[0][1][:] = [1e3, -1e3, 0]
    with np.errstate(over="ignore"):  # as in the loop: an infinite exp(-Z) is a sigmoid of 0
        mlp.gradient(p, Batch(np.ones((1, 3), dtype), np.array([[0, 1, 0]], dtype), 0.0), gradient)
    assert np.isfinite(gradient).all()
    assert 50 < mlp.read_loss() < 1e4
    assert gradient[0] > 0.9  # a step lowers the weight of the first output
    assert gradient[1] < -0.9


def scored(output: str, loss: str, logits: list[list[float]], targets: list[list[float]]) -> tuple[float, int]:
    """The score of a linear model whose inputs are its outputs before the activation."""
    outputs = len(logits[0])
    mlp = MLP((outputs, outputs), "relu", output, loss_of(loss), FLOAT64)
    p = np.zeros(mlp.size)
    mlp.layout.views(p)[0][0][:] = np.eye(outputs)
    return mlp.score(p, np.array([[*row, 1.0] for row in logits]), np.array(targets))


def test_with_several_outputs_the_largest_is_the_prediction():
    loss, right = scored(
        "softmax", "cross-entropy", [[0, 2, 1], [3, 0, 0], [0, 0, 1]], [[0, 1, 0], [0, 0, 1], [0, 0, 1]]
    )
    assert right == 2
    by_hand = [2 - math.log(1 + math.e**2 + math.e), -math.log(math.e**3 + 2), 1 - math.log(2 + math.e)]
    assert loss == pytest.approx(-sum(by_hand))


def test_with_one_output_the_side_of_a_threshold_is_the_prediction():
    """The threshold is a half for a probability, 0 for a margin."""
    targets = [[1.0], [0.0], [1.0], [0.0]]
    _, right = scored("sigmoid", "binary-cross-entropy", [[0.1], [-0.1], [-2], [3]], targets)
    assert right == 2
    loss, right = scored("identity", "hinge", [[0.1], [-0.1], [0.4], [0.6]], targets)
    assert right == 3
    assert loss == pytest.approx(0.9 + 0.9 + 0.6 + 1.6)


def test_the_score_excludes_penalties():
    p = some_parameters(14)
    batch = some_batch(3, 2, 4, True)
    plain, penalised = (
        MLP((3, 2, 2), "tanh", "softmax", LOSSES["cross-entropy"], FLOAT64, WeightSettings(l1=penalty, l2=penalty))
        for penalty in (0.0, 1.0)
    )
    assert plain.score(p, batch.X, batch.T_BO) == penalised.score(p, batch.X, batch.T_BO)
