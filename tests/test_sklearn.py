"""The estimators: scikit-learn's own checks, the bits of psgd's runs, references of scikit-learn, and daily use."""

import json
import os
import pickle
import re
from pathlib import Path

import numpy as np
import pytest
from processes import python
from scipy import sparse
from sklearn.base import clone
from sklearn.compose import ColumnTransformer, TransformedTargetRegressor
from sklearn.datasets import load_breast_cancer, load_diabetes, load_digits, load_iris, load_wine, make_regression
from sklearn.exceptions import NotFittedError
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV, cross_val_score, train_test_split
from sklearn.neural_network import MLPClassifier, MLPRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler
from sklearn.utils.estimator_checks import check_estimator

from psgd.core.errors import Diverged, UsageError
from psgd.data.dataset import Dataset
from psgd.data.sparse_as_dense import SparseAsDense
from psgd.jobs.estimators import base
from psgd.jobs.estimators.training import epoch_losses, train_estimator
from psgd.sklearn import PSGDClassifier, PSGDRegressor

ESTIMATORS = {
    "classifier": PSGDClassifier(),
    "regressor": PSGDRegressor(),
    "linear classifier, stopping early": PSGDClassifier((), max_iter=40, learning_rate=0.1, early_stopping=True),
    "linear regressor": PSGDRegressor((), loss="huber", max_iter=40, learning_rate=0.01),
    "hinge, weighted averaging": PSGDClassifier(
        (10,), loss="hinge", max_iter=15, learning_rate=0.1, strategy="weighted-averaging", workers=2, speeds=[1, 0.5]
    ),
}


def blobs(classes: int = 3, examples: int = 120) -> tuple[np.ndarray, np.ndarray]:
    draw = np.random.default_rng(0)
    y = np.arange(examples) % classes
    return draw.normal(size=(examples, 5)) + 2 * np.eye(5)[y], y


def curved(outputs: int = 1, examples: int = 120) -> tuple[np.ndarray, np.ndarray]:
    X = np.random.default_rng(1).normal(size=(examples, 4))
    Y = np.stack([X[:, 0] * X[:, 1], np.sin(X[:, 2])], axis=1)
    return X, Y[:, 0] if outputs == 1 else Y


@pytest.mark.parametrize("name", ESTIMATORS)
@pytest.mark.filterwarnings("default")  # the checks provoke warnings
def test_the_checks_of_scikit_learn_pass(name):
    results = check_estimator(ESTIMATORS[name], on_fail=None, on_skip=None)
    failed = {f"{r['check_name']}: {r['exception']!r}" for r in results if r["status"] == "failed"}
    assert not failed
    assert sum(r["status"] == "passed" for r in results) > 45
    # Arrays of other libraries: scikit-learn checks them only if a variable asks for it.
    assert {r["check_name"] for r in results if r["status"] == "skipped"} <= {"check_array_api_input"}


def trained(tmp_path: Path, X: np.ndarray, y: np.ndarray, *settings: str) -> str:
    """The hash of a run on an npz file of the arrays."""
    np.savez(tmp_path / "data.npz", x=X, y=y)
    source = ("data.source=npz", f"data.path={tmp_path / 'data.npz'}")
    finished = python("-m", "psgd.train", *source, *settings, "--output", str(tmp_path / "run"), "--quiet")
    assert finished.code == 0, finished
    return json.loads(finished.stdout)["parameters_sha256"]


def test_a_run_on_the_same_labels_has_the_same_bits(tmp_path):
    X, y = blobs()
    names = np.array(["north", "east", "south"])[y]
    settings = "model.hidden=[7] training.epochs=3 training.batch_size_per_worker=4 workers=3 training.seed=5"
    strategy = "strategy.name=weighted-averaging strategy.period=6 cluster.speeds=[1,0.5,0.5] optimizer.l2=0.001"
    stop = "data.validation=0.2 training.early_stop={patience: 3, minimum: 0.01}"
    wanted = trained(tmp_path, X, names, *settings.split(), *strategy.split(), *stop.split(maxsplit=1))
    estimator = PSGDClassifier(
        *((7,), "relu"), max_iter=3, batch_size=4, workers=3, random_state=5, strategy="weighted-averaging", period=6,
        speeds=[1, 0.5, 0.5], l2=0.001, early_stopping=True, validation_fraction=0.2, n_iter_no_change=3, tol=0.01,
    )  # fmt: skip
    assert estimator.fit(X, names).parameters_sha256_ == wanted
    assert estimator.classes_.tolist() == ["east", "north", "south"]
    assert set(estimator.predict(X)) <= set(names)


def test_a_run_on_the_same_values_has_the_same_bits(tmp_path):
    X, Y = curved(outputs=2)
    settings = "model.hidden=[] model.loss=huber data.task=regression training.epochs=4 training.precision=float64"
    strategy = "strategy.name=gradient-averaging optimizer.name=sgd optimizer.momentum=0.9 optimizer.learning_rate=0.01"
    wanted = trained(tmp_path, X, Y, *settings.split(), *strategy.split(), "workers=2", "training.seed=1")
    estimator = PSGDRegressor(
        (), loss="huber", max_iter=4, precision="float64", optimizer="sgd", momentum=0.9, learning_rate=0.01, workers=2,
        batch_size=10, random_state=1,
    )  # fmt: skip
    assert estimator.fit(X, Y).parameters_sha256_ == wanted


@pytest.mark.parametrize("strategy", ["gradient-averaging", "parameter-averaging"])
def test_threads_have_the_bits_of_one_process(strategy):
    X, y = blobs()
    alone = PSGDClassifier(
        (6,), max_iter=4, batch_size=8, workers=3, strategy=strategy, period=2, random_state=0, group="serial",
        early_stopping=True,
    )  # fmt: skip
    wanted = alone.fit(X, y)
    for processes in (1, 2, 3):
        other = clone(alone).set_params(group="threads", processes=processes).fit(X, y)
        assert other.parameters_sha256_ == wanted.parameters_sha256_
        assert other.loss_curve_ == pytest.approx(wanted.loss_curve_, rel=1e-12)
        assert other.validation_scores_ == wanted.validation_scores_


def test_a_linear_regressor_finds_the_least_squares():
    X, Y = make_regression(60, 4, n_targets=2, noise=1.0, random_state=0)
    estimator = PSGDRegressor((), optimizer="sgd", max_iter=800, batch_size=60, precision="float64", random_state=0)
    estimator.fit(X, Y)
    best = np.linalg.lstsq(np.hstack([X, np.ones((60, 1))]), Y, rcond=None)[0]
    np.testing.assert_allclose(estimator.coefs_[0], best[:-1], rtol=1e-9)
    np.testing.assert_allclose(estimator.intercepts_[0], best[-1], rtol=1e-9)
    assert estimator.predict(X).shape == (60, 2)


def test_a_linear_classifier_finds_the_logistic_regression():
    X, y = blobs(2)
    l2 = 0.1
    estimator = PSGDClassifier((), optimizer="sgd", learning_rate=0.3, l2=l2, max_iter=1500, batch_size=120,
                               precision="float64", random_state=0).fit(X, y)  # fmt: skip
    reference = LogisticRegression(C=1 / (l2 * len(X)), tol=1e-12, max_iter=1000).fit(X, y)
    np.testing.assert_allclose(estimator.coefs_[0][:, 0], reference.coef_[0], rtol=1e-6)
    np.testing.assert_allclose(estimator.predict_proba(X), reference.predict_proba(X), atol=1e-7)
    np.testing.assert_allclose(estimator.decision_function(X), reference.decision_function(X), atol=1e-6)


@pytest.mark.parametrize("classes", [2, 3])
def test_scikit_learns_network_with_these_weights_predicts_the_same(classes):
    X, y = blobs(classes)
    estimator = PSGDClassifier((9, 4), max_iter=5, random_state=0).fit(X, y)
    other = MLPClassifier((9, 4)).partial_fit(X, y, classes=range(classes))
    other.coefs_, other.intercepts_ = estimator.coefs_, estimator.intercepts_
    np.testing.assert_allclose(estimator.predict_proba(X), other.predict_proba(X), rtol=1e-6)
    np.testing.assert_allclose(estimator.predict_log_proba(X), other.predict_log_proba(X), rtol=1e-6)
    assert [W.shape for W in estimator.coefs_] == [W.shape for W in other.coefs_]
    assert (estimator.out_activation_ == "sigmoid") == (classes == 2)


@pytest.mark.parametrize(("name", "load"), [
    ("iris", load_iris), ("wine", load_wine), ("breast cancer", load_breast_cancer), ("digits", load_digits),
])  # fmt: skip
@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_it_is_as_accurate_as_scikit_learns_network(name, load):
    X, y = load(return_X_y=True)
    X, tested, y, labels = train_test_split(X[:800], y[:800], test_size=0.4, random_state=0, stratify=y[:800])
    scores = [
        make_pipeline(StandardScaler(), estimator).fit(X, y).score(tested, labels)
        for estimator in (PSGDClassifier(random_state=0), MLPClassifier(random_state=0))
    ]
    assert scores[0] > scores[1] - 0.03, name


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_it_is_as_accurate_as_scikit_learns_network_on_values():
    X, tested, y, values = train_test_split(*load_diabetes(return_X_y=True), test_size=0.4, random_state=0)
    scores = []
    for estimator in (PSGDRegressor(random_state=0), MLPRegressor(random_state=0)):
        scaled = TransformedTargetRegressor(estimator, transformer=StandardScaler())
        scores.append(make_pipeline(StandardScaler(), scaled).fit(X, y).score(tested, values))
    assert scores[0] > scores[1] - 0.1


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


def titanic():
    """A pipeline that prepares the table, its columns and its target."""
    pandas = pytest.importorskip("pandas")
    path = Path(os.environ.get("PSGD_DATA", ""), "titanic", "titanic.csv")
    if not path.is_file():
        pytest.skip("no titanic/titanic.csv under PSGD_DATA")
    table = pandas.read_csv(path)
    numbers, texts = ["Age", "Fare", "SibSp", "Parch"], ["Sex", "Embarked", "Pclass"]
    columns = ColumnTransformer([
        ("numbers", make_pipeline(SimpleImputer(strategy="median"), StandardScaler()), numbers),
        ("texts", OneHotEncoder(handle_unknown="ignore"), texts),
    ])  # fmt: skip
    return columns, table[numbers + texts], table["Survived"].map({0: "no", 1: "yes"})


def test_a_pipeline_learns_titanic():
    columns, X, y = titanic()
    pipeline = make_pipeline(columns, PSGDClassifier((16,), max_iter=30, random_state=0))
    X, tested, y, labels = train_test_split(X, y, random_state=0)
    pipeline.fit(X, y)
    assert pipeline.score(tested, labels) > 0.75
    assert pipeline.predict_proba(tested[:3]).shape == (3, 2)
    again = pickle.loads(pickle.dumps(pipeline))
    assert again[-1].parameters_sha256_ == pipeline[-1].parameters_sha256_
    np.testing.assert_array_equal(again.predict(tested), pipeline.predict(tested))


def test_frames_give_feature_names():
    pandas = pytest.importorskip("pandas")
    X, y = blobs()
    frame = pandas.DataFrame(X, columns=list("abcde"))
    estimator = PSGDClassifier((), max_iter=1).fit(frame, pandas.Series(y).astype("category"))
    assert estimator.feature_names_in_.tolist() == list("abcde")
    with pytest.raises(ValueError, match="feature names should match"):
        estimator.predict(frame.rename(columns={"a": "z"}))


def test_a_search_over_learning_rate_and_strategy():
    X, y = blobs()
    grid = {"learning_rate": [1e-4, 0.01], "strategy": ["gradient-averaging", "weighted-averaging"]}
    search = GridSearchCV(PSGDClassifier((5,), max_iter=4, period=3, workers=2, random_state=0), grid, cv=2)
    search.fit(X, y)
    assert search.best_params_["learning_rate"] == 0.01
    assert len(search.cv_results_["params"]) == 4
    assert np.isfinite(search.cv_results_["mean_test_score"]).all()


@pytest.mark.parametrize("backend", ["threading", "loky"])
def test_folds_in_parallel_have_the_scores_of_one_after_the_other(backend):
    from joblib import parallel_config
    from joblib.externals.loky import get_reusable_executor

    X, y = blobs()
    estimator = PSGDClassifier((5,), max_iter=3, random_state=0)
    try:
        with parallel_config(backend):
            scores = cross_val_score(estimator, X, y, cv=3, n_jobs=2)
    finally:
        if backend == "loky":
            get_reusable_executor().shutdown(wait=True)
    np.testing.assert_array_equal(scores, cross_val_score(estimator, X, y, cv=3))


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


def test_verbose_shows_progress_on_standard_error(capsys):
    PSGDClassifier((), max_iter=1, early_stopping=True, verbose=True).fit(*blobs())
    said = capsys.readouterr()
    assert not said.out
    assert "validation accuracy" in said.err


def test_without_scikit_learn_the_import_says_what_to_install():
    code = """
import sys
sys.modules["sklearn"] = None
import psgd
try:
    import psgd.sklearn
except ImportError as error:
    assert isinstance(error, psgd.errors.UsageError)
    assert "pip install 'psgd[sklearn]'" in str(error), error
else:
    raise AssertionError
"""
    finished = python("-c", code)
    assert finished.code == 0, finished
