"""Stopping early: training ends when validation data show no improvement any more, with the best parameters so far.

What is kept follows from scores and parameters that all processes have in common, so all of them decide alike.
"""

import math
from typing import Any, NamedTuple, final

import numpy as np

from psgd.core.replica import Replica

Scores = dict[str, float]  # of one evaluation, such as validation_loss


class StopRule(NamedTuple):
    patience: int  # evaluations in a row without an improvement, after which training ends
    minimum: float  # what counts as an improvement: to exceed the best score so far by more than this


class Best(NamedTuple):
    """The evaluation with the best score so far; the first one, if several are equal."""

    round: int
    position: int
    scores: Scores


@final
class EarlyStop:
    """Keeps the best evaluation and its parameters. Without a rule nothing is kept, and training is not stopped."""

    def __init__(self, rule: StopRule | None, parameters: int, dtype: np.dtype) -> None:
        self._rule = rule
        self.parameters = np.empty(parameters if rule else 0, dtype)  # of the best evaluation
        self.forget()

    def forget(self) -> None:
        """Start anew."""
        self.best: Best | None = None
        self._waited = 0  # evaluations since an improvement
        self._judged = -1  # position of the last evaluation

    def judge(self, replica: Replica, scores: Scores) -> None:
        """Judge an evaluation, which has validation scores. One that was judged before is passed over: after the loss
        of a process, the others evaluate once more if some of them had not finished."""
        progress = replica.progress
        if self._rule is None or progress.position <= self._judged:
            return
        value, best = _value(scores), -math.inf if self.best is None else _value(self.best.scores)
        improved = value > best + self._rule.minimum
        self._judged, self._waited = progress.position, 0 if improved or self.best is None else self._waited + 1
        if value > best or self.best is None:
            self.best = Best(progress.round, progress.position, scores)
            self.parameters[:] = replica.parameters

    @property
    def over(self) -> bool:
        """Whether patience is at its end."""
        return self._rule is not None and self._waited >= self._rule.patience

    def result(self, replica: Replica) -> Replica:
        """What training leads to if it ends with `replica`."""
        return Replica(self.parameters[np.newaxis], replica.progress) if self.best else replica

    def state(self) -> dict[str, Any]:
        """For a checkpoint, which has the parameters besides."""
        best = self.best and self.best._asdict()
        return {"early_stop": {"best": best, "waited": self._waited, "judged": self._judged}} if self._rule else {}

    def restore(self, record: dict[str, Any]) -> bool:
        """Restore what `state` returned, except for the parameters. Returns whether there are some to be restored."""
        self.forget()
        state = record.get("early_stop")
        if self._rule and state:
            self.best = state["best"] and Best(**state["best"])
            self._waited, self._judged = state["waited"], state["judged"]
        return self.best is not None

    def must_catch_up(self, record: dict[str, Any]) -> bool:
        """Whether the training so far, of which a checkpoint has this record, went without the rule that holds now."""
        return self._rule is not None and "early_stop" not in record


def _value(scores: Scores) -> float:
    """The score to be judged, greater is better: accuracy where there are classes, else the loss."""
    value = scores.get("validation_accuracy", -scores["validation_loss"])
    return -math.inf if math.isnan(value) else value
