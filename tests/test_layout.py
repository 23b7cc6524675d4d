"""Parameters: where each lies in the flat vector, and their initial values."""

import numpy as np
import pytest

from psgd.backends.layout import Layout
from psgd.learners.initializers import initial

FLOAT32, FLOAT64 = np.dtype(np.float32), np.dtype(np.float64)


def test_layout_by_hand():
    layout = Layout((3, 2, 4))
    assert layout.size == 3 * 2 + 2 + 2 * 4 + 4
    (W1, b1), (W2, b2) = layout.views(np.arange(20))
    assert W1.tolist() == [[0, 1], [2, 3], [4, 5]]
    assert b1.tolist() == [6, 7]
    assert W2.tolist() == [[8, 9, 10, 11], [12, 13, 14, 15]]
    assert b2.tolist() == [16, 17, 18, 19]


def test_views_share_memory_and_leave_no_gap():
    layout = Layout((5, 4, 3, 2))
    vector = np.full(layout.size, np.nan)
    for W_IO, b_O in layout.views(vector):
        W_IO[:], b_O[:] = 1.0, 2.0
    assert np.isfinite(vector).all()
    assert np.count_nonzero(vector == 2.0) == 4 + 3 + 2


def test_names_of_parameters():
    layout = Layout((3, 2, 4))
    words = [layout.name(i) for i in (0, 5, 6, 7, 8, 15, 16, 19, 20)]
    assert words[:4] == ["layer 1 weights", "layer 1 weights", "layer 1 biases", "layer 1 biases"]
    assert words[4:8] == ["layer 2 weights", "layer 2 weights", "layer 2 biases", "layer 2 biases"]
    assert words[8] == "the loss"  # named in a report where all parameters are finite


# Initial parameters


def drawn(initializer: str, seed: int = 0, dtype: np.dtype = FLOAT64, constant: float = 0.0):
    layout = Layout((200, 300, 100))
    return layout.views(initial(layout, initializer, constant, seed, dtype))


def z_of_moments(values: np.ndarray, variance: float, kurtosis: float) -> tuple[float, float]:
    """z-scores of mean and variance, of a symmetric distribution."""
    n = values.size
    mean, spread = values.mean() / np.sqrt(variance / n), values.var() - variance
    return float(mean), float(spread / (variance * np.sqrt((kurtosis - 1) / n)))


@pytest.mark.parametrize(
    ("initializer", "variances", "kurtosis"),
    [
        ("xavier", (2 / 500, 2 / 400), 1.8),  # uniform within +-sqrt(6 / (I + O))
        ("he", (2 / 200, 2 / 300), 3.0),
        ("normal", (1.0, 1.0), 3.0),
    ],
)
def test_moments_of_initial_weights(initializer, variances, kurtosis):
    for (W_IO, b_O), variance in zip(drawn(initializer), variances, strict=True):
        assert np.abs(z_of_moments(W_IO, variance, kurtosis)).max() < 5
        if initializer == "normal":
            assert np.abs(z_of_moments(b_O, 1.0, 3.0)).max() < 5
        else:
            assert not b_O.any()
        if initializer == "xavier":
            bound = np.sqrt(3 * variance)
            assert 0.99 * bound < np.abs(W_IO).max() <= bound
        assert np.abs(np.corrcoef(W_IO[:-1].ravel(), W_IO[1:].ravel())[0, 1]) < 5 / np.sqrt(W_IO.size)


def test_constant_sets_weights_and_biases():
    assert all((W_IO == 0.25).all() and (b_O == 0.25).all() for W_IO, b_O in drawn("constant", constant=0.25))


@pytest.mark.parametrize("initializer", ["xavier", "he", "normal"])
def test_initial_parameters_are_a_function_of_the_seed(initializer):
    (first, _), (second, _) = drawn(initializer, seed=7), drawn(initializer, seed=8)
    assert np.array_equal(first[0], drawn(initializer, seed=7)[0][0])
    assert np.abs(np.corrcoef(first[0].ravel(), second[0].ravel())[0, 1]) < 5 / np.sqrt(first[0].size)
    rounded = drawn(initializer, seed=7, dtype=FLOAT32)[0][0]
    assert np.array_equal(
        rounded, first[0].astype(np.float32)
    )  # both precisions have the same initial values, up to rounding
