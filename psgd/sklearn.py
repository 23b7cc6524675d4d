"""Estimators for scikit-learn, trained by parallel SGD: `from psgd.sklearn import PSGDClassifier, PSGDRegressor`."""

from psgd.jobs.estimators.classifier import PSGDClassifier
from psgd.jobs.estimators.regressor import PSGDRegressor

__all__ = ["PSGDClassifier", "PSGDRegressor"]
