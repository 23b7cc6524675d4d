"""Whether a rule goes over memory once instead of ten times: where numba is installed and there is enough to do."""

import numpy as np

from psgd.optimizer.rules import Rule

ENOUGH = 2e9  # parameters updated, over all steps: of fewer, numba takes longer to start than it saves


def in_one_pass(rule: Rule, updates: float, dtype: np.dtype) -> Rule:
    """The same rule with the same bits, or the one given; `updates` is the parameters times the steps to come."""
    if not rule.rows or updates < ENOUGH:
        return rule
    try:
        from psgd.optimizer.compiled import OnePass
    except (ImportError, RuntimeError):  # the latter where numba finds no place for its cache
        return rule
    return OnePass(rule, dtype)
