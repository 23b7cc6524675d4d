"""The rules in one pass over memory, by compiled code: the operations of rules.py in their order, so the same bits."""

from typing import final

import numpy as np

from psgd.backends.numba.machine_code import kernels
from psgd.optimizers.rules import SGD, Adam, Place, Rule


def _name(rule: Rule) -> str:
    if isinstance(rule, SGD):
        return "nesterov" if rule.nesterov else "momentum"
    assert isinstance(rule, Adam), rule
    return "amsgrad" if rule.amsgrad else "adam"


@final
class CompiledUpdate:
    """A rule with state, for vectors of `dtype`."""

    def __init__(self, rule: Rule, dtype: np.dtype) -> None:
        self._rule, self._step = rule, kernels(dtype)[_name(rule)]

    @property
    def rows(self) -> int:
        return self._rule.rows

    def factors(self, count: int, rate: float) -> tuple[float, ...]:
        return self._rule.factors(count, rate)

    def update(
        self, p: np.ndarray, g: np.ndarray, state: np.ndarray, count: int, rate: float, to: Place | None = None
    ) -> None:
        if to:  # in place all the same: a loop over arrays that may overlap takes longer than the copies
            np.copyto(to[0], p)
            np.copyto(to[1], state)
            p, state = to
        self._step(p, g, state, *self.factors(count, rate))
