"""The check of psgd.fit before training refuses no right gradient."""

from itertools import pairwise

import numpy as np
import pytest
from checked_fit import fit, right, scaled

from psgd.core.errors import PsgdError


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
