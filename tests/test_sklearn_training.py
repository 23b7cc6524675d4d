"""The estimators in training that goes on: parts, warm starts, failures and early stopping."""

import pickle

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn_data import blobs, curved

from psgd.core.errors import Diverged
from psgd.jobs.estimators import base
from psgd.jobs.estimators.training import train_estimator
from psgd.sklearn import PSGDClassifier, PSGDRegressor


def test_parts_of_whole_batches_are_steps_of_one_training():
    X, y = blobs()
    options = {"batch_size": 120, "precision": "float64", "random_state": 3}
    whole = PSGDClassifier((6,), max_iter=5, **options).fit(X, y)
    parts = PSGDClassifier((6,), **options)
    for part in range(5):
        parts.partial_fit(X, y, classes=[0, 1, 2] if part == 0 else None)
        parts = pickle.loads(pickle.dumps(parts))
    np.testing.assert_allclose(parts.parameters_, whole.parameters_, rtol=1e-9, atol=1e-12)
    assert parts.n_iter_ == 5
    assert parts.loss_curve_ == pytest.approx(whole.loss_curve_, rel=1e-9)


def test_the_first_part_is_an_epoch_and_the_others_draw_other_batches(monkeypatch):
    X, y = curved()
    options = {"hidden_layer_sizes": (6,), "random_state": 3}
    parts = PSGDRegressor(**options).partial_fit(X, y)
    assert parts.parameters_sha256_ == PSGDRegressor(max_iter=1, **options).fit(X, y).parameters_sha256_
    assert parts.set_params(optimizer="sgd", learning_rate=0.01).partial_fit(X, y).n_iter_ == 2  # without Adam's state
    seeds = []

    def noted(settings, *arguments):
        seeds.append(settings.training.seed)
        return train_estimator(settings, *arguments)

    monkeypatch.setattr(base, "train_estimator", noted)
    for estimator in (PSGDRegressor(**options), PSGDRegressor(**options)):
        estimator.partial_fit(X, y).partial_fit(X, y).partial_fit(X, y)
    assert seeds[0] == 3
    assert seeds[:3] == seeds[3:]
    assert len(set(seeds)) == 3


def test_steps_and_rounds_fit_into_an_epoch():
    X, y = blobs(examples=40)
    options = {"hidden_layer_sizes": (4,), "max_iter": 3, "workers": 4, "random_state": 0}
    for strategy, wanted in (("gradient-averaging", {}), ("parameter-averaging", {"period": 1})):
        limited = PSGDClassifier(strategy=strategy, **options).fit(X, y)
        same = PSGDClassifier(strategy=strategy, batch_size=10, **wanted, **options).fit(X, y)
        assert limited.parameters_sha256_ == same.parameters_sha256_
        assert limited.n_iter_ == 3
    few = PSGDClassifier(batch_size=5, strategy="parameter-averaging", **options)
    assert few.fit(X, y).parameters_sha256_ == few.set_params(period=2).fit(X, y).parameters_sha256_
    assert PSGDClassifier((), workers=8, max_iter=1).fit(X[:3], y[:3]).n_iter_ == 2  # fewer examples than workers


def test_parts_may_lack_classes_but_have_no_others():
    X, y = blobs()
    estimator = PSGDClassifier((4,), random_state=0)
    with pytest.raises(ValueError, match="classes must be passed on the first call"):
        estimator.partial_fit(X, y)
    estimator.partial_fit(X[y < 2], y[y < 2], classes=[0, 1, 2]).partial_fit(X[y > 0], y[y > 0])
    assert estimator.predict_proba(X).shape == (120, 3)
    with pytest.raises(ValueError, match=r"y has the labels \[7\], which are none of the classes \[0 1 2\]"):
        estimator.partial_fit(X, np.where(y == 1, 7, y))


def test_warm_start_goes_on_from_the_parameters():
    X, y = blobs()
    options = {"batch_size": 120, "precision": "float64", "random_state": 3, "optimizer": "sgd"}
    long = PSGDClassifier((6,), max_iter=6, **options).fit(X, y)
    short = PSGDClassifier((6,), max_iter=3, warm_start=True, **options).fit(X, y).fit(X, y)
    np.testing.assert_allclose(short.parameters_, long.parameters_, rtol=1e-9, atol=1e-12)
    before = short.parameters_.copy()
    for other in ((8,), (2, 7)):  # the second has as many parameters
        with pytest.raises(
            ValueError, match=r"layers of .* units, and the fit from which this one goes on \(\d, 6, 3\)"
        ):
            short.set_params(hidden_layer_sizes=other).fit(X, y)
        with pytest.raises(ValueError, match="clone the estimator"):
            short.partial_fit(X, y)
    assert np.array_equal(short.parameters_, before)
    with pytest.raises(ValueError, match="with warm_start they must be"):
        short.fit(X, y + 1)


def test_after_a_fit_that_fails_the_one_before_predicts_as_it_did():
    X, y = blobs()
    estimator = PSGDClassifier((6,), max_iter=3, random_state=0).fit(X, y)
    before = estimator.predict_proba(X)
    with pytest.raises(Diverged):
        estimator.set_params(activation="sigmoid", learning_rate=1e38).fit(X[:, :1], y % 2)
    assert np.array_equal(estimator.predict_proba(X), before)
    assert np.array_equal(estimator.classes_, [0, 1, 2])


@pytest.mark.parametrize("method", ["fit", "partial_fit"])
def test_after_a_first_fit_that_fails_there_is_none(method):
    """There was a missing attribute in place of scikit-learn's word for that."""
    X, y = blobs()
    for estimator in (PSGDClassifier(learning_rate=1e38), PSGDRegressor(learning_rate=1e38)):
        more = {"classes": [0, 1, 2]} if method == "partial_fit" and isinstance(estimator, PSGDClassifier) else {}
        with pytest.raises(Diverged):
            getattr(estimator, method)(X, y, **more)
        with pytest.raises(NotFittedError):
            estimator.predict(X)


def test_early_stopping_keeps_the_best():
    X, y = blobs()
    estimator = PSGDClassifier((20,), early_stopping=True, validation_fraction=0.3, n_iter_no_change=3, random_state=0)
    scores = estimator.fit(X, y).validation_scores_
    assert len(scores) == estimator.n_iter_ < 100
    best = int(np.argmax(scores))
    kept = clone(estimator).set_params(max_iter=best + 1, n_iter_no_change=100).fit(X, y)
    assert kept.parameters_sha256_ == estimator.parameters_sha256_
    assert not hasattr(estimator, "partial_fit")
