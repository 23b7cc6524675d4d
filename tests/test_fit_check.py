"""The check of psgd.fit before training: what is wrong with a gradient is said, and a right one is never refused."""

import threading
from itertools import pairwise

import numpy as np
import pytest

import psgd
from psgd.core.errors import DataError, Diverged, PsgdError, UsageError

RANDOM = np.random.default_rng(0)
X = RANDOM.normal(size=(60, 5))
Y = (X @ RANDOM.normal(size=5) > 0).astype(float)
START = {"W": RANDOM.normal(size=(5, 4)), "b": np.zeros(4), "V": RANDOM.normal(size=(4, 1)), "c": np.zeros(1)}


def right(p, X, y):
    hidden = np.tanh(X @ p["W"] + p["b"])
    answer = (hidden @ p["V"] + p["c"])[:, 0]
    delta = ((answer - y) / len(X))[:, None]
    before = (delta @ p["V"].T) * (1 - hidden**2)
    gradient = {"W": X.T @ before, "b": before.sum(axis=0), "V": hidden.T @ delta, "c": delta.sum(axis=0)}
    return gradient, 0.5 * np.mean((answer - y) ** 2)


def scaled(factor, loss_factor=1.0, leaves="WbVc", returns_loss=True):
    """Return the right function, but for factors of some leaves and of the loss; a factor "n" is the number of rows."""

    def gradient(p, X, y):
        found, loss = right(p, X, y)
        by = {"n": len(X), "1/n": 1 / len(X)}.get(factor, factor)
        found = {name: array * by if name in leaves else array for name, array in found.items()}
        return (found, loss * (len(X) if loss_factor == "n" else loss_factor)) if returns_loss else found

    return gradient


def fit(gradient, parameters=START, dataset=(X, Y), **arguments):
    return psgd.fit(
        gradient, parameters, dataset, **{"workers": 1, "batch_size_per_worker": 10, "period": 1} | arguments
    )


def no_tanh(p, X, y):
    found, loss = right(p, X, y)
    hidden = np.tanh(X @ p["W"] + p["b"])
    return {**found, "W": X.T @ ((X.T @ hidden).sum() * np.ones((len(X), 4)))}, loss


def of_own_variables(p, X, y):
    return right(START, X, y)


@pytest.mark.parametrize(
    ("gradient", "message"),
    [
        (scaled(-1), "^gradient has the wrong sign"),
        (
            scaled("n"),
            "^gradient is 10 times the slope of the loss, and a batch has 10 rows: it is a sum over the rows",
        ),
        (scaled("n", "n"), "^gradient doubles if every row .* Divide gradient and loss by len"),
        (scaled("n", returns_loss=False), r"^gradient doubles if every row .* Divide gradient by len\(X\)"),
        (scaled("n", leaves="b", returns_loss=False), r"^the gradient of parameters\['b'\] doubles"),
        (scaled(1, "n"), "^gradient is 1/10 of the slope of the loss, .* the loss is a sum over them"),
        (scaled("1/n"), "^gradient is 1/10 of the slope of the loss, .* divided by their number once too often"),
        (scaled(1, 2), "^gradient is 0.5 times the slope of the loss .* lacks a constant factor"),
        (scaled(-2), "^gradient is -2 times the slope of the loss, with the wrong sign"),
        (scaled(-1, leaves="V"), r"^the gradient of parameters\['V'\] has the wrong sign"),
        (scaled("n", leaves="b"), r"^the gradient of parameters\['b'\] is 10 times"),
        (scaled(0, leaves="c"), r"^the gradient of parameters\['c'\] is 0, but the loss changes"),
        (no_tanh, r"^the gradient of parameters\['W'\] does not fit the loss: .* by .* a unit, and by"),
        (of_own_variables, "^gradient is not 0, but the loss does not change with the parameters"),
        (lambda p, X, y: (right(p, X, y)[0], 0.25), "not a count of wrong answers"),
    ],
)
def test_what_is_wrong_is_said(gradient, message):
    with pytest.raises(UsageError, match=message) as caught:
        fit(gradient)
    assert str(caught.value).endswith("check=False trains without this check")
    assert "\n" not in str(caught.value)
    assert caught.value.code == 2
    fit(gradient, check=False, learning_rate=1e-6)


def test_a_factor_of_two_is_no_sum_over_a_batch_of_two():
    with pytest.raises(UsageError, match="constant factor"):
        fit(scaled(1, 2), batch_size_per_worker=2)


def test_a_single_number_may_be_a_pair_in_the_wrong_order():
    with pytest.raises(UsageError, match=r"or it was returned as \(loss, gradient\)"):
        fit(lambda p, X, y: (0.5 * np.mean((p - y) ** 2), np.mean(p - y)), 0.7)


@pytest.mark.parametrize("group", ["serial", "threads"])
def test_results_that_differ_between_equal_calls_are_noticed(group):
    random, calls = np.random.default_rng(0), []

    def noisy(p, X, y):
        found, loss = right(p, X, y)
        return found, loss + random.random()

    def counting(p, X, y):
        calls.append(1)
        found, loss = right(p, X, y)
        return {**found, "c": found["c"] * len(calls)}, loss

    with pytest.raises(UsageError, match=r"two results for equal arguments \(loss .*, then .*\): it draws random"):
        fit(noisy, group=group)
    with pytest.raises(UsageError, match=r"two results for equal arguments \(for parameters\['c'\]\[0\] "):
        fit(counting, group=group)


def test_a_function_that_steps_by_itself_is_told_not_to():
    def stepping(p, X, y, unlock=False):
        found, loss = right(p, X, y)
        p["W"].flags.writeable |= unlock
        p["W"][...] -= 0.1 * found["W"]
        return found, loss

    with pytest.raises(ValueError, match="read-only") as caught:
        fit(stepping)
    assert "return the gradient, psgd takes the step" in caught.value.__notes__[1]
    with pytest.raises(UsageError, match="gradient changes its argument `parameters`"):
        fit(lambda p, X, y: stepping(p, X, y, unlock=True))


def with_nan(p, X, y):
    found, loss = right(p, X, y)
    found["V"][1, 0] = np.nan
    return found, loss


def test_what_is_not_finite_at_first_is_not_blamed_on_the_learning_rate():
    with pytest.raises(
        Diverged, match=r"of parameters\['V'\]\[1, 0\] is nan in the first call, .* no learning rate helps"
    ):
        fit(with_nan)
    with pytest.raises(Diverged, match="the loss is inf in the first call"):
        fit(lambda p, X, y: (right(p, X, y)[0], np.inf))
    holes = X.copy()
    holes[::2, 1] = np.nan
    with pytest.raises(DataError, match="X of dataset is not finite"):
        fit(right, dataset=(holes, Y))


class Network:
    """Keeps its activations between the lines of a call, as many do."""

    def gradient(self, p, X, y):
        self.hidden = np.tanh(X @ p["W"] + p["b"])
        self.answer = (self.hidden @ p["V"] + p["c"])[:, 0]
        delta = ((self.answer - y) / len(X))[:, None]
        before = (delta @ p["V"].T) * (1 - self.hidden**2)
        loss = 0.5 * np.mean((self.answer - y) ** 2)
        gradient = {"W": X.T @ before, "b": before.sum(0), "V": self.hidden.T @ delta, "c": delta.sum(0)}
        return gradient, loss


BUFFER = np.empty((10, 4))


def in_one_buffer(p, X, y):
    buffer = BUFFER
    if len(X) != len(buffer):
        raise ValueError("the buffer is for ten rows")
    np.tanh(X @ p["W"] + p["b"], out=buffer)
    delta = (((buffer @ p["V"] + p["c"])[:, 0] - y) / len(X))[:, None]
    before = (delta @ p["V"].T) * (1 - buffer**2)
    return {"W": X.T @ before, "b": before.sum(0), "V": buffer.T @ delta, "c": delta.sum(0)}


@pytest.mark.parametrize("gradient", [Network().gradient, in_one_buffer])
def test_what_a_function_keeps_between_its_lines_is_noticed_under_threads_alone(gradient):
    with pytest.raises(UsageError, match=r"another result while another thread calls it: .* group='serial', or mpirun"):
        fit(gradient, group="threads", workers=2, processes=2)
    fit(gradient)
    fit(right, group="threads", workers=2, processes=2)


@pytest.mark.parametrize("store", ["lock", "local"])
def test_a_function_that_protects_what_it_keeps_passes_under_threads(store, monkeypatch):
    monkeypatch.setattr("psgd.jobs.fit.two_threads.WAIT_SECONDS", 0.05)
    lock, local, network = threading.Lock(), threading.local(), Network()

    def locked(p, X, y):
        with lock:
            return network.gradient(p, X, y)

    def own(p, X, y):
        local.network = Network()
        return local.network.gradient(p, X, y)

    fit(locked if store == "lock" else own, group="threads", workers=2, processes=2)


def test_the_check_changes_no_bit_and_takes_some_ten_calls():
    calls = []

    def counted(p, X, y):
        calls.append(len(X))
        return right(p, X, y)

    counts, hashes = [], []
    for check in (True, False):
        calls.clear()
        hashes.append(fit(counted, check=check).summary["parameters_sha256"])
        counts.append(len(calls))
    assert hashes[0] == hashes[1]
    assert 5 <= counts[0] - counts[1] <= 15


def test_parameters_without_effect_are_tried_together():
    """Each took thirty calls, which is minutes for thousands, such as vectors of words of which a batch has few."""
    calls = []
    words = {f"word {number}": np.ones(2) for number in range(300)}

    def gradient(p, X, y):
        calls.append(1)
        used = p["word 7"]
        error = X[:, :1] * used[0] - y
        still = {word: np.zeros(2) for word in p}
        return {**still, "word 7": np.array([np.mean(error * X[:, :1]), 0.0])}, 0.5 * np.mean(error**2)

    fit(gradient, words, epochs=1e-9)
    assert len(calls) < 60

    def forgets(p, X, y):
        found, loss = gradient(p, X, y)
        return found, loss + 1e-4 * p["word 200"].sum() + 1e-4 * p["word 201"].sum()

    with pytest.raises(
        UsageError, match=r"the gradient of parameters\['word 200'\], parameters\['word 201'\] is 0, but"
    ):
        fit(forgets, words)


def network(activation, loss, dtype, sizes):
    """Return a function for a network as people write it, with a loss that has kinks or a cap."""

    def gradient(p, X, y):
        values, answers = [X], []
        for W, b in zip(p[::2], p[1::2], strict=True):
            z = values[-1] @ W + b
            answers.append(z)
            values.append({"relu": np.maximum(z, 0), "tanh": np.tanh(z), "sigmoid": 1 / (1 + np.exp(-z))}[activation])
        z, n, rows = answers[-1], len(X), np.arange(len(X))
        target = np.eye(sizes[-1], dtype=dtype)[y]
        if loss == "softmax":
            e = np.exp(z - z.max(axis=1, keepdims=True))
            q = e / e.sum(axis=1, keepdims=True)
            cost, delta = -np.mean(np.log(q[rows, y] + dtype(1e-12))), (q - target) / n
        elif loss == "absolute":
            cost, delta = np.mean(np.abs(z - target).sum(axis=1)), np.sign(z - target) / n
        else:
            sign = 2 * target - 1
            cost, delta = np.mean(np.maximum(0, 1 - sign * z).sum(axis=1)), -sign * (sign * z < 1) / n
        found = []
        for layer in reversed(range(len(answers))):
            found[:0] = [values[layer].T @ delta, delta.sum(axis=0)]
            after = values[layer]
            slope = {"relu": after > 0, "tanh": 1 - after**2, "sigmoid": after * (1 - after)}[activation]
            delta = (delta @ p[2 * layer].T) * slope
        return [array.astype(dtype) for array in found], cost

    return gradient


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("loss", ["softmax", "absolute", "hinge"])
@pytest.mark.parametrize("activation", ["relu", "tanh", "sigmoid"])
def test_right_gradients_are_not_refused(activation, loss, dtype):
    """Kinks of relu at zero rows and zero biases, capped and saturated losses, small and large inputs."""
    random = np.random.default_rng(1)
    inputs = random.normal(size=(40, 12)).astype(dtype)
    labels = np.sort(random.integers(0, 3, 40))
    sparse = np.where(random.random((40, 12)) < 0.7, 0, random.integers(0, 256, (40, 12))).astype(dtype)
    sparse[::2] = 0
    sizes = [12, 10, 8, 3]
    for data in (inputs, inputs * dtype(1e-4), inputs * dtype(1e3), sparse, sparse / dtype(255)):
        for scale in (0.0, 0.3, 1.0):
            shapes = pairwise(sizes)
            start = [a.astype(dtype) for i, o in shapes for a in (scale * random.normal(size=(i, o)), np.zeros(o))]
            fit(network(activation, loss, dtype, sizes), start, (data, labels), learning_rate=1e-12, epochs=0.1)


def far_from_zero(p, X, y):
    """Lose nearly all digits of the residuals to rounding."""
    inputs = X.astype(np.float32)
    residuals = inputs @ p - inputs @ np.full(5, 1e6, np.float32)[::-1] + y.astype(np.float32)
    return inputs.T @ residuals / np.float32(len(X)), 0.5 * np.mean(residuals**2)


@pytest.mark.parametrize(
    ("gradient", "parameters"),
    [
        (lambda p, X, y: (np.mean(p - y), 0.5 * np.mean((p - y) ** 2)), 0.25),
        (lambda p, X, y: (1e9 * np.mean(p - y), 0.5e9 * np.mean((p - y) ** 2)), 0.25),
        (lambda p, X, y: (1e-9 * np.mean(p - y), 0.5e-9 * np.mean((p - y) ** 2)), 0.25),
        (lambda p, X, y: (np.zeros(3), 0.0), np.zeros(3)),
        (lambda p, X, y: (p / 3, 1e4 + np.float32((p**2).sum() / 6)), np.ones(3, np.float32)),
        (lambda p, X, y: (p / 3, round((p**2).sum() / 6, 3)), np.ones(3)),
        (lambda p, X, y: (p / 3, (p**2).sum() / 6 + 0.01 * np.sin(1e12 * p.sum())), np.ones(3)),
        (far_from_zero, np.full(5, 1e6, np.float32)),
        (lambda p, X, y: (X.T @ (X @ p - y) / len(X), 0.5 * np.mean((X @ p - y) ** 2)), np.zeros(5)),
        (lambda p, X, y: (np.sign(p) / 5, np.abs(p).mean()), np.zeros(5)),
        (lambda p, X, y: X.T @ (X @ p - y) / len(X) + 0.1 * p, np.ones(5)),
        (lambda p, X, y: (X.T @ (X @ p - y) / 10, 0.5 * np.mean((X @ p - y) ** 2)), np.ones(5)),
        (lambda p, X, y: ([(2 * p[0][0],), 2 * p[1]], p[0][0] ** 2 + (p[1] ** 2).sum()), [(3.0,), np.ones((2, 2))]),
    ],
    ids=["number", "large", "small", "flat", "float32", "rounded", "noisy", "far from 0", "zeros", "kink at the start",
         "no loss", "fixed divisor", "tree"],
)  # fmt: skip
def test_right_gradients_of_other_shapes_are_not_refused(gradient, parameters):
    fit(gradient, parameters, learning_rate=1e-12)


def test_a_sum_over_batches_of_one_row_is_a_mean():
    fit(scaled("n", "n"), batch_size_per_worker=1)


def test_a_function_of_exactly_one_batch_is_not_called_with_another_number_of_rows_in_vain():
    def strict(p, X, y):
        assert len(X) == 10
        return right(p, X, y)

    fit(strict)
    with pytest.raises(PsgdError, match="is 10 times the slope"):
        fit(lambda p, X, y: ({k: 10 * v for k, v in strict(p, X, y)[0].items()}, strict(p, X, y)[1]))


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("leaf", range(4))
def test_a_gradient_that_was_forgotten_is_missed_however_small_it_is(leaf, seed):
    """The gradient of the output's bias may be a few percent of the slope along all parameters."""
    random = np.random.default_rng(seed)
    X = random.normal(size=(400, 10))
    start = [random.normal(size=(10, 20)) / 3, np.zeros(20), random.normal(size=(20, 1)) / 4, np.zeros(1)]

    def gradient(parameters, X, y, forgotten=leaf):
        W1, b1, W2, b2 = parameters
        hidden = np.tanh(X @ W1 + b1)
        error = hidden @ W2 + b2 - y
        slope = error / len(X)
        inner = slope @ W2.T * (1 - hidden**2)
        found = [X.T @ inner, inner.sum(axis=0), hidden.T @ slope, slope.sum(axis=0)]
        return [0 * g if n == forgotten else g for n, g in enumerate(found)], 0.5 * np.mean(error**2)

    with pytest.raises(UsageError, match=rf"^the gradient of parameters\[{leaf}\] is 0, but the loss changes"):
        fit(gradient, start, (X, np.sin(X[:, :1])), learning_rate=0.01)
    fit(lambda *given: gradient(*given, forgotten=None), start, (X, np.sin(X[:, :1])), learning_rate=0.01)
