"""Imports what the estimators need of scikit-learn."""

from collections.abc import Callable
from typing import Any, TypeVar

from psgd.core.errors import UsageError
from psgd.core.optional import what_to_install


class Missing(UsageError, ImportError):
    """scikit-learn is missing, broken or too old."""


try:
    from sklearn.base import BaseEstimator, ClassifierMixin, RegressorMixin
    from sklearn.utils import check_random_state
    from sklearn.utils.metaestimators import available_if as _available_if
    from sklearn.utils.multiclass import _check_partial_fit_first_call as first_partial_fit
    from sklearn.utils.multiclass import check_classification_targets
    from sklearn.utils.validation import check_is_fitted, column_or_1d, validate_data
except Exception as error:
    raise Missing(f"psgd.sklearn needs {what_to_install(error, 'scikit-learn', 'psgd[sklearn]')}") from None

Method = TypeVar("Method", bound=Callable[..., Any])


def available_if(check: Callable[[Any], bool]) -> Callable[[Method], Method]:
    """Decorate a method that an estimator has where `check(estimator)` is true and raises no AttributeError."""
    decorate: Callable[[Method], Method] = _available_if(check)
    return decorate


__all__ = [
    "BaseEstimator",
    "ClassifierMixin",
    "Method",
    "RegressorMixin",
    "available_if",
    "check_classification_targets",
    "check_is_fitted",
    "check_random_state",
    "column_or_1d",
    "first_partial_fit",
    "validate_data",
]
