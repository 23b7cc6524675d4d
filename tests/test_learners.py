"""Learners: gradients against central differences of an objective in plain loops, losses against plain loops."""

import math
from functools import partial
from itertools import pairwise, product

import numpy as np
import pytest

from psgd.backends.layer_plan import plan_layers
from psgd.backends.numpy.activations import ACTIVATIONS
from psgd.learners.layered_learner import WeightSettings
from psgd.learners.learner import Batch, Learner, TrainState
from psgd.learners.losses import LOSSES, Loss, huber
from psgd.learners.mlp import MLP
from psgd.optimizers.optimizer import Optimizer
from psgd.optimizers.rules import SGD, Adam
from psgd.optimizers.schedule import Schedule

FLOAT32, FLOAT64 = np.dtype(np.float32), np.dtype(np.float64)
THRESHOLD = 0.4  # Huber's, small enough that both of its branches occur
SEED = 2  # for which no relu is 0 on all examples
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


def loss_of(name: str) -> Loss:
    return huber(THRESHOLD) if name == "huber" else LOSSES[name]


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


def some_batch(features: int, outputs: int, examples: int, classes: bool, seed: int = 0) -> Batch:
    draw = np.random.Generator(np.random.Philox(seed))
    X_BI = np.ones((examples, features + 1))
    X_BI[:, :-1] = draw.normal(size=(examples, features))
    if not classes:
        T_BO = draw.normal(size=(examples, outputs))
    elif outputs == 1:
        T_BO = draw.integers(0, 2, (examples, 1)).astype(np.float64)
    else:
        T_BO = np.eye(outputs)[draw.integers(0, outputs, examples)]
    return Batch(X_BI, T_BO, 0.0)


def some_parameters(size: int, seed: int = SEED) -> np.ndarray:
    return np.random.Generator(np.random.Philox(seed)).normal(scale=0.7, size=size)


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


WIDE = (300, 120, 30, 3)  # most weights are the first layer's: outputs of many examples lie in memory by example


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


# Losses by hand


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


# A learner's own state


def test_the_loss_is_summed_until_it_is_read():
    mlp = MLP((3, 4, 2), "tanh", "softmax", LOSSES["cross-entropy"], FLOAT64)
    p, out = some_parameters(mlp.size), np.empty(mlp.size)
    batches = [some_batch(3, 2, examples, True, seed) for seed, examples in enumerate((5, 2, 7))]
    parts = []
    for batch in batches:
        mlp.gradient(p, batch, out)
        parts.append(mlp.read_loss())
    for batch in batches:
        mlp.gradient(p, batch, out)
    mlp.score(p, batches[0].X, batches[0].T_BO)  # evaluation is not training
    assert mlp.read_loss() == pytest.approx(sum(parts), rel=1e-14)
    assert mlp.read_loss() == 0.0


def test_workers_that_share_a_learner_do_not_affect_each_other():
    """Alternating with others, with batches of other sizes and short-lived vectors: the bits of an unshared learner."""

    def make() -> MLP:
        return MLP((3, 4, 2), "relu", "softmax", LOSSES["cross-entropy"], FLOAT32, WeightSettings(l2=0.1))

    def gradient_by(mlp: MLP, worker: int) -> np.ndarray:
        X_BI, T_BO, _ = some_batch(3, 2, 1 + worker % 3, True, seed=worker)
        p, out = some_parameters(mlp.size, worker).astype(np.float32), np.empty(mlp.size, np.float32)
        mlp.gradient(p, Batch(X_BI.astype(np.float32), T_BO.astype(np.float32), 0.0), out)
        mlp.score(p, X_BI.astype(np.float32), T_BO.astype(np.float32))
        return out

    shared = make()
    for worker in range(100):  # more vectors than the learner caches
        assert np.array_equal(gradient_by(shared, worker), gradient_by(make(), worker))


def test_the_batch_and_the_parameters_are_not_modified():
    mlp = MLP((3, 4, 3), "identity", "softmax", huber(1.0), FLOAT64, WeightSettings(l1=0.1))
    batch, p = some_batch(3, 3, 4, True), some_parameters(mlp.size)
    copies = [batch.X.copy(), batch.T_BO.copy(), p.copy()]
    mlp.gradient(p, batch, np.empty(mlp.size))
    mlp.score(p, batch.X, batch.T_BO)
    assert all(np.array_equal(a, b) for a, b in zip((batch.X, batch.T_BO, p), copies, strict=True))


@pytest.mark.parametrize("rule", [SGD(), SGD(0.9, nesterov=True), Adam(), Adam(amsgrad=True)])
def test_a_run_equals_a_gradient_and_a_step_for_each_batch(rule):
    mlp = MLP((3, 4, 2), "tanh", "softmax", LOSSES["cross-entropy"], FLOAT32)
    optimizer = Optimizer(rule, Schedule(0.1, "cosine", 6.0, warmup=1.0), clip_norm=0.2)
    batches = []
    for step in range(6):
        X_BI, T_BO, _ = some_batch(3, 2, 4, True, seed=step)
        batches.append(Batch(X_BI.astype(np.float32), T_BO.astype(np.float32), step + 0.5))
    start = some_parameters(mlp.size).astype(np.float32)
    p, gradient, moments = start.copy(), np.empty_like(start), np.zeros((optimizer.moment_rows, mlp.size), np.float32)
    for count, batch in enumerate(batches, 1):
        mlp.gradient(p, batch, gradient)
        optimizer.step(p, gradient, moments, count, batch.epoch)
    for cut in (0, 1, 4, 6):  # in two segments
        for run in (mlp.run, partial(Learner.run, mlp)):
            q, again = start.copy(), np.zeros_like(moments)
            run(TrainState(q, again, 0, np.empty_like(start)), optimizer, batches[:cut])
            run(TrainState(q, again, cut, np.empty_like(start)), optimizer, batches[cut:])
            assert np.array_equal(p, q)
            assert np.array_equal(moments, again)


ROUNDING = {np.float32: 2e-6, np.float64: 3e-15}  # normwise, of 30 steps


@pytest.mark.parametrize("dtype", ROUNDING)
@pytest.mark.parametrize(("loss", "output"), [("squared-error", "sigmoid"), ("cross-entropy", "softmax")])
@pytest.mark.parametrize(("hidden", "l2"), [("relu", 0.0), ("sigmoid", 0.1), ("tanh", 0.0)])
@pytest.mark.parametrize(
    ("sizes", "examples"), [((5, 9, 31, 3), 1), ((5, 9, 31, 3), 7), ((5, 9, 31, 3), 60), (WIDE, 200)]
)
def test_plain_sgd_in_one_product_equals_the_default_up_to_rounding(dtype, loss, output, hidden, l2, sizes, examples):
    mlp = MLP(sizes, hidden, output, loss_of(loss), np.dtype(dtype), WeightSettings(l2=l2))
    batches = []
    for step in range(30):
        X_BI, T_BO, _ = some_batch(sizes[0], 3, examples, True, seed=step)
        batches.append(Batch(X_BI.astype(dtype), T_BO.astype(dtype), step / 10))
    optimizer, nothing = Optimizer(SGD(), Schedule(0.1, "step", decay_every=1.0)), np.zeros((0, mlp.size), dtype)
    p, q = (mlp.initial(SEED) for _ in range(2))
    start = p.astype(np.float64)
    Learner.run(mlp, TrainState(p, nothing, 0, np.empty_like(p)), optimizer, batches)
    loss_of_default = mlp.read_loss()
    mlp.run(TrainState(q, nothing, 0, np.empty_like(p)), optimizer, batches)
    assert mlp.read_loss() == pytest.approx(loss_of_default, rel=1e-5 if dtype == np.float32 else 1e-13)
    assert np.linalg.norm(p - start) > 1e-3 * np.linalg.norm(start)
    assert np.linalg.norm(p.astype(np.float64) - q) < ROUNDING[dtype] * np.linalg.norm(p)
    assert not np.shares_memory(p, q)


def test_other_optimizers_use_the_default_run():
    for l1, optimizer in [
        (0.1, Optimizer(SGD(), Schedule(0.1))),
        (0.0, Optimizer(SGD(0.9), Schedule(0.1))),
        (0.0, Optimizer(SGD(), Schedule(0.1), clip_norm=0.01)),
        (0.0, Optimizer(Adam(), Schedule(0.1))),
    ]:
        mlp = MLP((3, 4, 2), "tanh", "softmax", LOSSES["cross-entropy"], FLOAT64, WeightSettings(l1=l1))
        batches = [some_batch(3, 2, 4, True, seed=step) for step in range(5)]
        p, q = some_parameters(mlp.size), some_parameters(mlp.size)
        moments = np.zeros((2, optimizer.moment_rows, mlp.size))
        Learner.run(mlp, TrainState(p, moments[0], 0, np.empty_like(p)), optimizer, batches)
        mlp.run(TrainState(q, moments[1], 0, np.empty_like(p)), optimizer, batches)
        assert np.array_equal(p, q)
        assert np.array_equal(*moments)


# Scores


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
