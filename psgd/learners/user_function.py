"""The learner of a user's own numpy function."""

from collections.abc import Callable
from typing import Any, final

import numpy as np

from psgd.core.errors import UsageError
from psgd.learners.learner import Batch, Learner
from psgd.learners.parameter_tree import ParameterTree, describe

Gradient = Callable[[Any, np.ndarray, np.ndarray], Any]  # (parameters, X, y) -> gradient, or (gradient, loss)
Measure = Callable[[Any, np.ndarray, np.ndarray], Any]  # (parameters, X, y) -> a number


@final
class UserFunction(Learner):
    """`gradient` returns the mean gradient over the batch, in the structure of the parameters, or a tuple of it and the
    mean loss; `loss` returns the mean loss of its examples, and `score` the share of right answers among them."""

    def __init__(
        self,
        gradient: Gradient,
        structure: ParameterTree,
        start: np.ndarray,
        loss: Measure | None = None,
        score: Measure | None = None,
        wants_loss: bool = False,
    ) -> None:
        self.size, self.dtype = structure.size, structure.dtype
        self._gradient, self._structure, self._start = gradient, structure, start
        self._loss, self._score, self._wants_loss = loss, score, wants_loss
        self._sum = 0.0
        self._vector: np.ndarray | None = None  # the vector of self._views, which are made once for many steps

    def initial(self, seed: int) -> np.ndarray:
        """Return the user's parameters, whatever the seed."""
        return self._start

    def gradient(self, parameters: np.ndarray, batch: Batch, out: np.ndarray) -> None:
        if parameters is not self._vector:
            self._vector, self._views = parameters, self._structure.views(parameters)
        returned, loss = self._gradient(self._views, batch.X, batch.T_BO), None
        if not self._structure.write(returned, out):
            if type(returned) is not tuple or len(returned) != 2 or not self._structure.write(returned[0], out):
                raise UsageError(
                    f"gradient returned {describe(returned)}; it must return a gradient like the parameters "
                    f"({describe(self._views)}), or a tuple (gradient, loss)"
                )
            loss = returned[1]
        if loss is not None:
            self._sum += _number(loss, "the loss that gradient returned") * len(batch.X)
        elif self._wants_loss:
            raise UsageError("progress shows the loss, and gradient returns none: return (gradient, loss)")

    def read_loss(self) -> float:
        loss, self._sum = self._sum, 0.0
        return loss

    def score(self, parameters: np.ndarray, X: np.ndarray, T_BO: np.ndarray) -> tuple[float, int]:
        """Score examples. Without a `loss` function, the loss is the number of wrong answers."""
        views, count = self._structure.views(parameters), len(X)
        right = 0
        if self._score:
            share = _number(self._score(views, X, T_BO), "what score returned")
            if not 0.0 <= share <= 1.0:
                raise ValueError(f"score returned {share}; it must be the share of right answers, from 0 to 1")
            right = round(share * count)
        if self._loss is None:
            return float(count - right), right
        return _number(self._loss(views, X, T_BO), "what loss returned") * count, right

    def name(self, index: int) -> str:
        return self._structure.name(index)


def _number(value: Any, what: str) -> float:
    if isinstance(value, np.ndarray) and value.ndim == 0:
        value = value[()]
    if isinstance(value, bool) or not isinstance(value, int | float | np.integer | np.floating):
        # Not a PsgdError, which all processes must raise together: in scoring, it may happen on one process alone.
        raise TypeError(f"{what} is {describe(value)}; it must be one number")
    return float(value)
