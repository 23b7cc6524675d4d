"""PSGDRegressor."""

from typing import Any, Self, final

import numpy as np

from psgd.jobs.estimators.base import PARAMETERS, Estimator, takes_parts, unchanged_by_failure
from psgd.jobs.estimators.outputs import activated
from psgd.jobs.estimators.scikit_learn import RegressorMixin, available_if


@final
class PSGDRegressor(RegressorMixin, Estimator):  # type: ignore[misc]
    __doc__ = f"""A regressor, of one value or several. Scale y, or use scikit-learn's TransformedTargetRegressor.

    loss: squared-error (the default), half the sum over outputs; huber.
{PARAMETERS}"""
    __module__ = "psgd.sklearn"  # where pickles look for it
    _task, _losses = "regression", ("squared-error", "huber")

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.target_tags.multi_output = True
        return tags

    @unchanged_by_failure
    def fit(self, X: Any, y: Any) -> Self:
        """Train on X (N, F) and y, (N,) or (N, O)."""
        X, targets = self._prepared(X, y, reset=True)
        return self._fit(X, targets, 0, go_on=self.warm_start and hasattr(self, "parameters_"))

    @available_if(takes_parts)
    @unchanged_by_failure
    def partial_fit(self, X: Any, y: Any) -> Self:
        """Train for one epoch on a part of the data, from where the last call ended."""
        X, targets = self._prepared(X, y, reset=not hasattr(self, "parameters_"))
        return self._partial_fit(X, targets, 0)

    def predict(self, X: Any) -> np.ndarray:
        """Return (N,), or (N, O) for several outputs."""
        Z_NO = self._logits(X)
        values = activated(self.out_activation_, Z_NO)
        return values[:, 0] if values.shape[1] == 1 else values

    def _prepared(self, X: Any, y: Any, reset: bool) -> tuple[Any, np.ndarray]:
        X, y = self._checked(X, y, reset, y_numeric=True)
        return X, np.asarray(y, np.float64).reshape(len(y), -1)
