"""Learners: gradients against central differences of an objective in plain loops."""

import math
from itertools import pairwise, product

import numpy as np
import pytest
from learner_batches import FLOAT64, THRESHOLD, WIDE, loss_of, some_batch, some_parameters

from psgd.backends.layer_plan import plan_layers
from psgd.backends.numpy.activations import ACTIVATIONS
from psgd.learners.layered_learner import WeightSettings
from psgd.learners.learner import Batch
from psgd.learners.mlp import MLP

ANY_OUTPUT = ("identity", "sigmoid", "tanh", "softmax", "relu")
OUTPUTS = {  # what the config lets each loss be used with
    "squared-error": ANY_OUTPUT,
    "binary-cross-entropy": ("sigmoid",),
    "cross-entropy": ("softmax",),
    "hinge": ("identity", "tanh"),
    "huber": ANY_OUTPUT,
}
PAIRS = [(loss, output) for loss, outputs in OUTPUTS.items() for output in outputs]
HIDDEN = ("relu", "sigmoid", "tanh", "identity")


# The objective in plain loops over examples


def naive_activation(name: str, z: list[float]) -> list[float]:
    if name == "softmax":
        total = sum(math.exp(x) for x in z)
        return [math.exp(x) / total for x in z]
    one = {
        "identity": lambda x: x,
        "relu": lambda x: max(x, 0.0),
        "sigmoid": lambda x: 1.0 / (1.0 + math.exp(-x)),
        "tanh": math.tanh,
    }[name]
    return [one(x) for x in z]


def naive_loss(name: str, a: list[float], t: list[float]) -> float:
    one = {
        "squared-error": lambda a, t: (a - t) ** 2 / 2,
        "cross-entropy": lambda a, t: -t * math.log(a),
        "binary-cross-entropy": lambda a, t: -t * math.log(a) - (1 - t) * math.log(1 - a),
        "hinge": lambda a, t: max(0.0, 1.0 - (a if t == 1 else -a)),
        "huber": lambda a, t: (a - t) ** 2 / 2 if abs(a - t) <= THRESHOLD else THRESHOLD * (abs(a - t) - THRESHOLD / 2),
    }[name]
    return sum(one(x, y) for x, y in zip(a, t, strict=True))


def naive_outputs(sizes: tuple[int, ...], hidden: str, output: str, p: list[float], x: list[float]) -> list[float]:
    start = 0
    for layer, (inputs, outputs) in enumerate(pairwise(sizes)):
        biases = start + inputs * outputs
        z = [p[biases + o] + sum(x[i] * p[start + i * outputs + o] for i in range(inputs)) for o in range(outputs)]
        x = naive_activation(output if layer == len(sizes) - 2 else hidden, z)
        start = biases + outputs
    return x


def naive_penalty(sizes: tuple[int, ...], p: list[float], l1: float, l2: float) -> float:
    start, total = 0, 0.0
    for inputs, outputs in pairwise(sizes):
        weights = p[start : start + inputs * outputs]
        total += sum(l1 * abs(w) + l2 / 2 * w * w for w in weights)
        start += (inputs + 1) * outputs
    return total


def check_gradient(
    sizes: tuple[int, ...], hidden: str, output: str, loss: str, l1: float = 0.0, l2: float = 0.0
) -> None:
    """Every component against central differences, and the loss against the plain loops."""
    mlp = MLP(sizes, hidden, output, loss_of(loss), FLOAT64, WeightSettings(l1=l1, l2=l2))
    batch = some_batch(sizes[0], sizes[-1], 4, classes=loss not in ("squared-error", "huber"))
    p, gradient = some_parameters(mlp.size), np.full(mlp.size, np.nan)
    mlp.gradient(p, batch, gradient)

    def losses(p: list[float]) -> float:
        examples = zip(batch.X[:, :-1].tolist(), batch.T_BO.tolist(), strict=True)
        return sum(naive_loss(loss, naive_outputs(sizes, hidden, output, p, x), t) for x, t in examples)

    def objective(p: list[float]) -> float:
        return losses(p) / 4 + naive_penalty(sizes, p, l1, l2)

    assert mlp.read_loss() == pytest.approx(losses(p.tolist()), rel=1e-12)
    step, differences = 1e-6, np.empty(mlp.size)
    for i in range(mlp.size):
        up, down = p.tolist(), p.tolist()
        up[i] += step
        down[i] -= step
        differences[i] = (objective(up) - objective(down)) / (2 * step)
    assert np.linalg.norm(gradient) > 1e-3
    assert np.linalg.norm(gradient - differences) / np.linalg.norm(gradient) < 1e-8


@pytest.mark.parametrize(("loss", "output"), PAIRS)
@pytest.mark.parametrize("hidden", HIDDEN)
def test_gradient_of_every_activation_output_and_loss(hidden, loss, output):
    check_gradient((3, 4, 3), hidden, output, loss)


@pytest.mark.parametrize(("loss", "output"), PAIRS)
def test_gradient_of_a_linear_model_with_penalties(loss, output):
    check_gradient((4, 3), "relu", output, loss, l1=0.03, l2=0.2)


@pytest.mark.parametrize("hidden", HIDDEN)
@pytest.mark.parametrize(("l1", "l2"), [(0.0, 0.0), (0.1, 0.0), (0.0, 0.3), (0.1, 0.3)])
def test_gradient_of_several_layers_with_penalties(hidden, l1, l2):
    check_gradient((3, 5, 2, 4, 3), hidden, "softmax", "cross-entropy", l1, l2)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_relu_has_derivative_1_above_zero_and_0_elsewhere(dtype):
    tiny = np.finfo(dtype).smallest_subnormal
    Z, D = np.array([[-1, 0, tiny, 0.5, 1, 7]], dtype), np.array([[np.inf, -2, -5, 0.25, -1e30, 2]], dtype)
    forward, backward = ACTIVATIONS["relu"].actions(Z, Z, D)
    for act in forward + backward:
        act()
    assert np.array_equal(Z, np.array([[0, 0, tiny, 0.5, 1, 7]], dtype))
    assert np.array_equal(D, np.array([[0, 0, -5, 0.25, -1e30, 2]], dtype))


@pytest.mark.parametrize("hidden", HIDDEN)
@pytest.mark.parametrize(("loss", "output"), [("squared-error", "tanh"), ("cross-entropy", "softmax")])
def test_the_gradient_of_a_batch_is_the_mean_over_its_parts(hidden, loss, output):
    mlp = MLP(WIDE, hidden, output, loss_of(loss), FLOAT64, WeightSettings(l1=0.01, l2=0.02))
    assert plan_layers(mlp.layout, 200)[0].by_example
    assert not plan_layers(mlp.layout, 20)[0].by_example
    batch, p = some_batch(WIDE[0], WIDE[-1], 200, True), some_parameters(mlp.size) / 3
    whole, parts = np.full(mlp.size, np.nan), np.full((10, mlp.size), np.nan)
    mlp.gradient(p, batch, whole)
    loss_of_whole = mlp.read_loss()
    outputs = mlp.predict(p, batch.X).copy()
    for i, part in enumerate(parts):
        rows = slice(20 * i, 20 * i + 20)
        mlp.gradient(p, Batch(batch.X[rows], batch.T_BO[rows], 0.0), part)
        assert np.allclose(mlp.predict(p, batch.X[rows]), outputs[rows], rtol=1e-12, atol=0)
    assert loss_of_whole == pytest.approx(mlp.read_loss(), rel=1e-12)
    assert np.linalg.norm(whole - parts.mean(axis=0)) < 1e-13 * np.linalg.norm(whole)


@pytest.mark.parametrize(
    ("loss", "output"), [("binary-cross-entropy", "sigmoid"), ("hinge", "identity"), ("squared-error", "identity")]
)
def test_gradient_of_a_single_output(loss, output):
    check_gradient((3, 4, 1), "tanh", output, loss)


def test_every_output_that_the_config_allows_is_tested():
    from psgd.config.resolve import resolve
    from psgd.core.errors import UsageError

    def allowed(loss: str, output: str) -> bool:
        try:
            resolve(None, [f"model.loss={loss}", f"model.output={output}"])
        except UsageError:
            return False
        return True

    assert [pair for pair in product(OUTPUTS, ANY_OUTPUT) if allowed(*pair)] == [
        pair for pair in product(OUTPUTS, ANY_OUTPUT) if pair in PAIRS
    ]
