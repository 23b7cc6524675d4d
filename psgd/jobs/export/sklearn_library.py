"""What psgd takes from scikit-learn and pandas in order to write a pipeline: the only importer of them here."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from psgd.core.errors import UsageError
from psgd.core.optional import what_to_install


def check_installed() -> None:
    """UsageError if scikit-learn is missing or broken."""
    try:
        import sklearn  # noqa: F401
    except Exception as error:
        raise UsageError(f"--to sklearn needs {what_to_install(error, 'scikit-learn', 'psgd[sklearn]')}") from None


def frame(columns: dict[str, Sequence[object]]) -> Any:
    """Make a DataFrame: scikit-learn knows names of columns in no other. UsageError if pandas is missing or broken."""
    try:
        import pandas
    except Exception as error:
        needs = what_to_install(error, "pandas", "pandas")
        raise UsageError(f"--to sklearn of a model that was trained on a table needs {needs}") from None
    return pandas.DataFrame(columns)


def pipeline(steps: list[tuple[str, Any]]) -> Any:
    from sklearn.pipeline import Pipeline

    return Pipeline(steps)


def scaler(with_mean: bool = True) -> Any:
    """A StandardScaler: (x - mean) / deviation; without mean it takes sparse rows, too."""
    from sklearn.preprocessing import StandardScaler

    return StandardScaler(with_mean=with_mean)


def set_scale(fitted: Any, mean: float | np.ndarray, deviation: float | np.ndarray) -> None:
    """Give the fitted scaler another mean and deviation, of each column or of all."""
    inputs = fitted.n_features_in_
    fitted.mean_, fitted.scale_ = np.full(inputs, mean), np.full(inputs, deviation)
    fitted.var_ = np.square(fitted.scale_)


def of_unit_length() -> Any:
    from sklearn.preprocessing import Normalizer

    return Normalizer()


def filled(value: float) -> Any:
    """An imputer that replaces what is missing in a column by a number."""
    from sklearn.impute import SimpleImputer

    return SimpleImputer(strategy="constant", fill_value=value, keep_empty_features=True)


def codes(of_texts: dict[str, int]) -> Any:
    """An encoder of a column of any type by the codes of its values as texts; nan for any other."""
    from sklearn.preprocessing import FunctionTransformer, OrdinalEncoder

    # Functions of numpy: a pickle holds their names, and loads without psgd.
    texts = FunctionTransformer(np.asarray, kw_args={"dtype": str})
    places = OrdinalEncoder(
        categories=[np.array(list(of_texts), object)], handle_unknown="use_encoded_value", unknown_value=np.nan
    )
    of_places = {"xp": np.arange(float(len(of_texts))), "fp": np.array(list(of_texts.values()), np.float64)}
    return pipeline([("text", texts), ("place", places), ("code", FunctionTransformer(np.interp, kw_args=of_places))])


def one_hot(count: int) -> Any:
    from sklearn.preprocessing import OneHotEncoder

    return OneHotEncoder(categories=[np.arange(float(count))], sparse_output=False)


def by_column(parts: list[tuple[list[str], Any]]) -> Any:
    """A transformer that gives columns of a DataFrame, by name, to a transformer of their own."""
    from sklearn.compose import ColumnTransformer

    # The columns' own names may be those of the transformer's parameters.
    named = [(f"columns_{number}", part, names) for number, (names, part) in enumerate(parts, 1)]
    return ColumnTransformer(named, sparse_threshold=0.0)


def network(classes: np.ndarray | None, hidden: tuple[int, ...], activation: str, inputs: int, outputs: int) -> Any:
    """A fitted MLPClassifier or, without classes, MLPRegressor, of any weights."""
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.neural_network import MLPClassifier, MLPRegressor

    kind = MLPRegressor if classes is None else MLPClassifier
    estimator = kind(hidden_layer_sizes=hidden, activation=activation, max_iter=1, batch_size=1, random_state=0)
    return _fitted(estimator, classes, inputs, outputs, ConvergenceWarning)


def linear_model(classes: np.ndarray | None, margins: bool, inputs: int, outputs: int) -> Any:
    """A fitted LogisticRegression, LinearSVC (of margins) or, without classes, LinearRegression, of any weights."""
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import LinearRegression, LogisticRegression
    from sklearn.svm import LinearSVC

    estimator = LinearRegression() if classes is None else LinearSVC(max_iter=1) if margins else LogisticRegression()
    return _fitted(estimator, classes, inputs, outputs, ConvergenceWarning)


def _fitted(estimator: Any, classes: np.ndarray | None, inputs: int, outputs: int, expected: type[Warning]) -> Any:
    """Fit on an example of each class, so that the estimator has all that its version needs to predict."""
    import warnings

    y = np.zeros((2, outputs) if outputs > 1 else 2) if classes is None else classes
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", expected)
        return estimator.fit(np.zeros((len(y), inputs)), y)
