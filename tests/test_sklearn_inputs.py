"""What the estimators are given: sparse rows, bytes, frames, random generators, and mistakes."""

import re

import numpy as np
import pytest
from scipy import sparse
from sklearn.base import clone
from sklearn.datasets import load_digits
from sklearn.exceptions import NotFittedError
from sklearn_data import blobs, curved

from psgd.core.errors import Diverged, UsageError
from psgd.data.dataset import Dataset
from psgd.data.sparse_as_dense import SparseAsDense
from psgd.jobs.estimators.training import epoch_losses
from psgd.sklearn import PSGDClassifier, PSGDRegressor


@pytest.mark.parametrize("kind", [sparse.csr_matrix, sparse.csr_array, sparse.coo_array, sparse.csc_matrix])
def test_sparse_rows_have_the_bits_of_dense_ones(kind):
    X, y = blobs()
    X[np.abs(X) < 1] = 0
    estimator = PSGDClassifier((6,), max_iter=4, random_state=0, early_stopping=True)
    dense, given = clone(estimator).fit(X, y), kind(X)
    found = clone(estimator).fit(given, y)
    assert found.parameters_sha256_ == dense.parameters_sha256_
    np.testing.assert_allclose(found.predict_proba(given), dense.predict_proba(X), rtol=1e-12)


@pytest.mark.parametrize("loss", ["cross-entropy", "hinge", "squared-error"])
def test_a_sparse_linear_model_is_the_dense_one(loss):
    X, y = blobs(2)
    X[np.abs(X) < 1] = 0
    cls = PSGDRegressor if loss == "squared-error" else PSGDClassifier
    estimator = cls((), loss=loss, max_iter=5, random_state=0, optimizer="sgd", l2=0.01, workers=2)
    dense, found = clone(estimator).fit(X, y), clone(estimator).fit(sparse.csr_matrix(X), y)
    np.testing.assert_allclose(found.parameters_, dense.parameters_, rtol=1e-4, atol=1e-6)
    assert found.parameters_sha256_ != dense.parameters_sha256_  # it took the steps of sparse rows
    np.testing.assert_allclose(found.predict(X), dense.predict(X), rtol=1e-4)


def test_unsorted_and_repeated_entries_are_summed_and_left_alone():
    rows = sparse.csr_matrix((np.ones(6), np.array([2, 0, 0, 1, 1, 0]), np.array([0, 3, 6])), shape=(2, 3))
    indices, y = rows.indices.copy(), [0.0, 1.0]
    found = PSGDRegressor((3,), max_iter=2, random_state=0).fit(rows, y)
    assert np.array_equal(rows.indices, indices)
    assert found.parameters_sha256_ == clone(found).fit(rows.toarray(), y).parameters_sha256_


def test_densified_rows_are_those_of_a_dense_data_set():
    draw = np.random.default_rng(2)
    X = draw.normal(size=(30, 7)) * (draw.random((30, 7)) < 0.3)
    labels, rows = draw.integers(0, 3, 30), sparse.csr_array(X)
    dense = Dataset(X, labels, 3)
    lean = SparseAsDense(rows.indptr, rows.indices, rows.data, labels, 3, 7)
    shuffled = draw.permutation(30)
    for which in (slice(0, 30), slice(5, 9), shuffled[:11], np.array([4, 4, 0]), np.empty(0, np.int64)):
        for one, other in ((dense, lean), (dense.take(shuffled), lean.take(shuffled))):
            wanted = one.reader(30, 3, np.dtype(np.float32))(which)
            for found, array in zip(other.reader(30, 3, np.dtype(np.float32))(which), wanted, strict=True):
                np.testing.assert_array_equal(found, array)


def test_losses_of_epochs_are_means_over_their_examples():
    rows = [
        {"examples": 4, "loss": 8.0},
        {"examples": 10},
        {"examples": 14, "loss": 2.0},
        {"examples": 20, "loss": 5.0},
    ]
    assert epoch_losses(rows, 10, 2) == pytest.approx([(4 * 8 + 6 * 2) / 10, (4 * 2 + 6 * 5) / 10])
    sparse_lines = [{"examples": 20, "loss": 3.0}, {"examples": 30, "loss": 1.0}]
    assert epoch_losses(sparse_lines, 10, 3) == pytest.approx([3, 3, 1])


def test_bytes_stay_bytes_and_inputs_are_left_alone():
    X, y = load_digits(return_X_y=True)
    X = np.asfortranarray(X[:200]).astype(np.uint8)
    before = X.copy()
    options = {"max_iter": 2, "random_state": 0}
    found = PSGDClassifier(**options).fit(X, y[:200])
    assert np.array_equal(X, before)
    assert found.parameters_sha256_ == PSGDClassifier(**options).fit(X.astype(float), y[:200]).parameters_sha256_
    np.testing.assert_array_equal(found.predict(X), found.predict(X.astype(float)))
    np.testing.assert_allclose(found.predict_proba(X[:3]), found.predict_proba(X)[:3], rtol=1e-12)  # in float64


def test_a_generator_draws_the_seed():
    X, y = blobs()
    options = {"hidden_layer_sizes": (3,), "max_iter": 1}
    one, same = (PSGDClassifier(**options, random_state=np.random.RandomState(4)).fit(X, y) for _ in range(2))
    assert one.parameters_sha256_ == same.parameters_sha256_
    assert PSGDClassifier(**options).fit(X, y).parameters_sha256_ != one.parameters_sha256_


def test_frames_give_feature_names():
    pandas = pytest.importorskip("pandas")
    X, y = blobs()
    frame = pandas.DataFrame(X, columns=list("abcde"))
    estimator = PSGDClassifier((), max_iter=1).fit(frame, pandas.Series(y).astype("category"))
    assert estimator.feature_names_in_.tolist() == list("abcde")
    with pytest.raises(ValueError, match="feature names should match"):
        estimator.predict(frame.rename(columns={"a": "z"}))


@pytest.mark.parametrize(("parameters", "said"), [
    ({"learning_rate": -1}, "learning_rate is -1; it must be greater than 0"),
    ({"batch_size": 2.5, "max_iter": 0}, "batch_size is 2.5; it must be a whole number greater than 0"),
    ({"hidden_layer_sizes": (0,)}, "hidden_layer_sizes is [0]; it must be a list of whole numbers greater than 0"),
    ({"activation": "logistic"}, 'activation is "logistic"; it must be one of relu, sigmoid, tanh, identity'),
    ({"optimizer": "lbfgs"}, 'optimizer is "lbfgs"; it must be one of sgd, adam, amsgrad'),
    ({"optimizer": {"name": "adam", "beta": 1}}, "optimizer['beta'] is not a setting of adam"),
    ({"optimizer": 3}, "optimizer is 3; it must be a name, or a mapping"),
    ({"strategy": "average"}, 'strategy is "average"; it must be one of gradient-averaging'),
    ({"strategy": "weighted-averaging", "period": "never"}, 'period is "never"; it must be a whole number'),
    ({"loss": "huber"}, "loss is 'huber'; it must be one of cross-entropy, hinge, squared-error"),
    ({"workers": 2, "speeds": [1]}, "speeds names 1 speeds, but workers is 2; give one speed for each worker"),
    ({"workers": "auto"}, "workers must be a whole number here"),
    ({"workers": -1}, "workers is -1; it must be a whole number greater than 0"),
    ({"group": "ray"}, "group one of auto, serial, threads"),
    ({"random_state": -1}, "random_state is -1; it must be at least 0"),
    ({"precision": "float16"}, 'precision is "float16"; it must be one of float32, float64'),
    ({"early_stopping": True, "validation_fraction": 1.5}, "validation_fraction is 1.5; it must be"),
    ({"early_stopping": True, "n_iter_no_change": 0}, "n_iter_no_change is 0; it must be greater than 0"),
    ({"early_stopping": True, "tol": -1}, "tol is -1; it must be at least 0"),
])  # fmt: skip
def test_wrong_parameters_are_named_as_the_user_gave_them(parameters, said):
    with pytest.raises(ValueError, match=re.escape(said)) as raised:
        PSGDClassifier(**parameters).fit(*blobs(2))
    assert isinstance(raised.value, UsageError)
    assert not str(raised.value).endswith("or auto")  # of the number of workers, which must be said here


def test_wrong_targets_are_named():
    X, y = blobs()
    with pytest.raises(ValueError, match="y has one class, 0; a classifier needs two or more"):
        PSGDClassifier().fit(X, y * 0)
    with pytest.raises(NotFittedError):
        PSGDRegressor().predict(X)
    with pytest.raises(AttributeError, match="has no attribute 'predict_proba'"):
        PSGDClassifier(loss="hinge").predict_proba(X)


def test_divergence_advises_scaling():
    X, y = curved()
    with pytest.raises(Diverged, match=r"Lower learning_rate or set .*, or scale X"):
        PSGDRegressor((), optimizer="sgd").fit(X * 1e6, y)
