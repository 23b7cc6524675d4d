"""The check of psgd.fit before training says what is wrong with a gradient."""

import threading

import numpy as np
import pytest
from checked_fit import START, X, Y, fit, right, scaled

from psgd.core.errors import DataError, Diverged, UsageError


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
