"""PSGDClassifier."""

from typing import Any, Self, final

import numpy as np

from psgd.jobs.estimators.base import PARAMETERS, Estimator, takes_parts, unchanged_by_failure
from psgd.jobs.estimators.outputs import activated
from psgd.jobs.estimators.parameters import InvalidParameter
from psgd.jobs.estimators.scikit_learn import (
    ClassifierMixin,
    available_if,
    check_classification_targets,
    column_or_1d,
    first_partial_fit,
)


def _probabilistic(estimator: Any) -> bool:
    if estimator.loss in (None, "cross-entropy"):
        return True
    raise AttributeError(f"loss is {estimator.loss}, which gives no probabilities; cross-entropy does")


def _check_classes(classes: np.ndarray) -> None:
    if len(classes) < 2:
        raise InvalidParameter(f"y has one class, {classes.tolist()[0]!r}; a classifier needs two or more")


@final
class PSGDClassifier(ClassifierMixin, Estimator):  # type: ignore[misc]
    __doc__ = f"""A classifier.

    loss: cross-entropy (the default), hinge, squared-error. With two classes, the first two have one output.
{PARAMETERS}"""
    __module__ = "psgd.sklearn"  # where pickles look for it
    _task, _losses = "classification", ("cross-entropy", "hinge", "squared-error")
    classes_: np.ndarray

    @unchanged_by_failure
    def fit(self, X: Any, y: Any) -> Self:
        """Train on X (N, F) and labels y (N,), numbers or texts. Two classes at least."""
        X, y = self._labelled(X, y, reset=True)
        classes, targets = np.unique(y, return_inverse=True)
        go_on = self.warm_start and hasattr(self, "parameters_")
        if go_on and not np.array_equal(classes, self.classes_):
            raise InvalidParameter(f"y has the classes {classes}; with warm_start they must be {self.classes_}")
        _check_classes(classes)
        self._fit(X, targets, len(classes), go_on)
        self.classes_ = classes
        return self

    @available_if(takes_parts)
    @unchanged_by_failure
    def partial_fit(self, X: Any, y: Any, classes: Any = None) -> Self:
        """Train for one epoch on a part of the data, from where the last call ended. `classes`: all that there are, at
        the first call."""
        X, y = self._labelled(X, y, reset=not hasattr(self, "parameters_"))
        if first_partial_fit(self, classes):
            _check_classes(self.classes_)
        targets = np.searchsorted(self.classes_, y).clip(0, len(self.classes_) - 1)
        if unknown := sorted(set(y[self.classes_[targets] != y].tolist())):
            raise InvalidParameter(f"y has the labels {unknown}, which are none of the classes {self.classes_}")
        return self._partial_fit(X, targets, len(self.classes_))

    def predict(self, X: Any) -> np.ndarray:
        """Return the class of each row (N,)."""
        decisions = self.decision_function(X)
        places = np.argmax(decisions, axis=1) if decisions.ndim == 2 else (decisions > 0).astype(np.int64)
        predicted: np.ndarray = self.classes_[places]
        return predicted

    def decision_function(self, X: Any) -> np.ndarray:
        """Return (N, classes), of which the largest is predicted; with two classes (N,), above 0 for the second. With
        cross-entropy they are logarithms of probabilities, but for a constant of each row."""
        Z_NO = self._logits(X)
        if self.out_activation_ != "softmax" and (self.out_activation_ != "sigmoid" or self.n_outputs_ > 1):
            Z_NO = activated(self.out_activation_, Z_NO)
        if len(self.classes_) > 2:
            return Z_NO
        return Z_NO[:, 0] if Z_NO.shape[1] == 1 else Z_NO[:, 1] - Z_NO[:, 0]

    @available_if(_probabilistic)
    def predict_proba(self, X: Any) -> np.ndarray:
        """Return probabilities (N, classes), in the order of `classes_`."""
        Z_NO = self._logits(X)
        P_NO = activated(self.out_activation_, Z_NO)
        return P_NO if P_NO.shape[1] > 1 else np.hstack([1.0 - P_NO, P_NO])

    @available_if(_probabilistic)
    def predict_log_proba(self, X: Any) -> np.ndarray:
        """Return the logarithms of `predict_proba`."""
        with np.errstate(divide="ignore"):  # minus infinity is the logarithm of 0
            logarithms: np.ndarray = np.log(self.predict_proba(X))
        return logarithms

    def _labelled(self, X: Any, y: Any, reset: bool) -> tuple[Any, np.ndarray]:
        X, y = self._checked(X, y, reset)
        y = column_or_1d(y, warn=True)
        check_classification_targets(y)
        return X, y
