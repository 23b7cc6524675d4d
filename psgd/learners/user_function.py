"""The learner of a user's own numpy function."""

from collections.abc import Callable
from typing import Any, final

import numpy as np

from psgd.core.errors import UsageError
from psgd.learners.learner import Batch, Learner
from psgd.learners.parameter_tree import ParameterTree, describe_tree

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
        self.structure = structure
        self._gradient, self._start = gradient, start
        self._loss, self._score, self._wants_loss = loss, score, wants_loss
        self._called = self.returns_loss = False  # whether the function was called, and whether it returned a loss
        self._sum = 0.0
        self._vector: np.ndarray | None = None  # the vector of self._views, which are made once for many steps

    def initial(self, seed: int) -> np.ndarray:
        """Return the user's parameters, whatever the seed."""
        return self._start

    def gradient(self, parameters: np.ndarray, batch: Batch, out: np.ndarray) -> None:
        loss = self.evaluate(parameters, batch.X, batch.T_BO, out)
        if loss is not None:
            self._sum += loss * len(batch.X)
        elif self._wants_loss:
            raise UsageError("progress shows the loss, and gradient returns none: return (gradient, loss)")

    def evaluate(self, parameters: np.ndarray, X: np.ndarray, y: np.ndarray, out: np.ndarray) -> float | None:
        """Call the function: write the gradient to `out` (P,) and return the loss, or None if it returns none.
        UsageError if only one of this call and the one before returned a loss: their mean would be wrong."""
        loss = self._call(parameters, X, y, out)
        if self._called and self.returns_loss != (loss is not None):
            raise UsageError("gradient returns a loss in some calls and none in others; return it in all, or in none")
        self._called, self.returns_loss = True, loss is not None
        return loss

    def _call(self, parameters: np.ndarray, X: np.ndarray, y: np.ndarray, out: np.ndarray) -> float | None:
        if parameters is not self._vector:
            self._vector, self._views = parameters, self.structure.views(parameters)
        returned = self._gradient(self._views, X, y)
        if returned is None:
            raise UsageError("gradient returned None; end it with `return gradient` or `return gradient, loss`")
        if self.structure.write(returned, out):
            return None
        if type(returned) is tuple and len(returned) == 2:
            if self._in_wrong_order(*returned):
                raise UsageError("gradient returned (loss, gradient); return them in the order (gradient, loss)")
            if self.structure.write(returned[0], out):
                return (
                    None if returned[1] is None else _number(returned[1], "the loss that gradient returned", UsageError)
                )
            if isinstance(returned[1], int | float | np.number) and not self.structure.is_number:
                raise UsageError(
                    "gradient returned (gradient, loss), but the gradient must have the lists, dicts and keys of the "
                    f"parameters: {self.structure.difference(returned[0])}"
                )
        raise UsageError(
            f"gradient returned {describe_tree(returned)}; it must return a gradient like the parameters "
            f"({describe_tree(self._views)}), or a tuple (gradient, loss); {self.structure.difference(returned)}"
        )

    def _in_wrong_order(self, first: Any, second: Any) -> bool:
        """Whether a pair is (loss, gradient). Where the only parameter is a number, nobody can tell."""
        if not isinstance(first, int | float | np.number | np.ndarray) or np.ndim(first):
            return False
        try:
            return not self.structure.is_number and self.structure.write(second, np.empty(self.size, self.dtype))
        except UsageError:  # a wrong shape or dtype
            return False

    def read_loss(self) -> float:
        loss, self._sum = self._sum, 0.0
        return loss

    def score(self, parameters: np.ndarray, X: np.ndarray, T_BO: np.ndarray) -> tuple[float, int]:
        """Score examples. Without a `loss` function, the loss is the number of wrong answers."""
        views, count = self.structure.views(parameters), len(X)
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
        return self.structure.name(index)


def _number(value: Any, what: str, wrong: type[Exception] = TypeError) -> float:
    """Convert to a float. `wrong`: not a PsgdError in scoring, where it may happen on one process alone."""
    if isinstance(value, np.ndarray) and value.ndim == 0:
        value = value[()]
    if isinstance(value, bool) or not isinstance(value, int | float | np.integer | np.floating):
        raise wrong(f"{what} is {describe_tree(value)}; it must be one number, the mean over the rows")
    return float(value)
