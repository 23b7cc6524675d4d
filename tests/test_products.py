"""The product that is added to a matrix, by each of its implementations."""

import threading
import time

import numpy as np
import pytest
from processes import LIMIT
from scipy.linalg import blas

from psgd.backends.numpy.products import UNLOCKED_WEIGHTS, accumulator


def lying(matrix: np.ndarray, how: str) -> np.ndarray:
    """The same matrix in another memory layout."""
    if how == "by column":
        return np.asfortranarray(matrix)
    if how == "part of a column":
        return np.asfortranarray(np.vstack([matrix, matrix]))[: len(matrix)]
    return np.repeat(matrix.T, 2, axis=1)[:, ::2].T if how == "with gaps" else matrix


@pytest.mark.parametrize("two_passes", [False, True])
@pytest.mark.parametrize(("dtype", "allowed"), [(np.float32, 3e-6), (np.float64, 1e-14)])
@pytest.mark.parametrize("kept", ["by row", "by column", "with gaps"])
@pytest.mark.parametrize("kept_D", ["by row", "by column", "part of a column", "with gaps"])
@pytest.mark.parametrize(
    ("inputs", "outputs", "examples"), [(5, 3, 4), (1, 1, 1), (40, 30, 60), (40, 30, 10), (300, 200, 7), (180, 190, 64)]
)
def test_result_is_the_sum_with_the_product(dtype, allowed, kept, kept_D, inputs, outputs, examples, two_passes):
    draw = np.random.default_rng(0)
    W, A, D = (draw.normal(size=s).astype(dtype) for s in ((inputs, outputs), (inputs, examples), (outputs, examples)))
    A, D = lying(A, kept), lying(D, kept_D)
    expected = W - 0.25 * A.astype(np.float64) @ D.T.astype(np.float64)
    A_before, D_before = A.copy(), D.copy()
    accumulator(np.dtype(dtype))(W.T, A, D, -0.25, two_passes)
    assert np.linalg.norm(W - expected) < allowed * np.linalg.norm(expected)
    assert np.array_equal(A, A_before)
    assert np.array_equal(D, D_before)


def test_a_large_product_has_the_bits_of_scipys_call():
    draw = np.random.default_rng(1)
    W, A, D = (draw.normal(size=s).astype(np.float32) for s in ((300, 200), (300, 50), (200, 50)))
    assert W.size > UNLOCKED_WEIGHTS
    theirs = blas.sgemm(-0.1, D, A, 1.0, W.T, 0, 1)
    accumulator(np.dtype(np.float32))(W.T, A, D, -0.1, False)
    assert np.array_equal(W.T, theirs)


def test_the_product_releases_the_interpreter_lock():
    """A thread counts while another multiplies, which it hardly could if the lock were held."""
    W, A, D = (np.ones((2000, 2000)) for _ in range(3))
    accumulate, counts, done = accumulator(np.dtype(np.float64)), [0], threading.Event()

    def count() -> None:
        while not done.is_set():
            counts[0] += 1

    thread = threading.Thread(target=count)
    thread.start()
    rates = []
    for act in (lambda: time.sleep(0.1), lambda: accumulate(W.T, A, D, 1.0, False)):
        before, began = counts[0], time.perf_counter()
        act()
        rates.append((counts[0] - before) / (time.perf_counter() - began))
    done.set()
    thread.join(LIMIT)
    assert rates[1] > 0.2 * rates[0]
