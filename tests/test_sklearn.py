"""The estimators: scikit-learn's own checks, the bits of psgd's runs, references of scikit-learn, and its pipelines."""

import json
import os
import pickle
from pathlib import Path

import numpy as np
import pytest
from processes import python
from sklearn.base import clone
from sklearn.compose import ColumnTransformer, TransformedTargetRegressor
from sklearn.datasets import load_breast_cancer, load_diabetes, load_digits, load_iris, load_wine, make_regression
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV, cross_val_score, train_test_split
from sklearn.neural_network import MLPClassifier, MLPRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler
from sklearn.utils.estimator_checks import check_estimator
from sklearn_data import blobs, curved

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


@pytest.mark.parametrize("classes", [2, 3])
def test_a_program_that_has_numpy_raise_errors_gets_certain_predictions(classes):
    X, y = blobs(classes)
    with np.errstate(all="raise"):
        estimator = PSGDClassifier((5,), max_iter=5, random_state=0).fit(X, y)
        found, logarithms = estimator.predict_proba(1e6 * X), estimator.predict_log_proba(1e6 * X)
    assert (found == 0.0).any()
    assert np.array_equal(np.isneginf(logarithms), found == 0.0)


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
