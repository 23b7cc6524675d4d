"""Names methods: a strategy, and its outer optimizer, by which alone DiLoCo and SlowMo differ from local SGD."""

from collections.abc import Mapping
from typing import Any

from psgd.compare import numbers
from psgd.compare.results_file import Json

_OUTER = "strategy.outer"


def method_of(results: Json, cell: Json) -> str:
    """The method of a cell, such as "parameter-averaging with outer rate 0.7 and Nesterov's momentum 0.9"."""
    outer = {**results["base"], **cell["settings"]}.get(_OUTER)
    if not outer or cell["period"] is None:  # the base's is not for a strategy without periods
        return str(cell["strategy"])
    tuned = {name: "tuned" for name in outer if f"{_OUTER}.{name}" in cell["tuned"]}
    return str(cell["strategy"]) + outer_name({**outer, **tuned})


def outer_name(outer: Mapping[str, Any] | None) -> str:
    """What to add to a strategy with such settings `strategy.outer`: nothing if there are none."""
    if not outer:
        return ""
    kind = "Nesterov's momentum" if outer["nesterov"] else "momentum"
    momentum = f" and {kind} {_shown(outer['momentum'])}"
    return f" with outer rate {_shown(outer['learning_rate'])}" + (momentum if outer["momentum"] else "")


def _shown(value: float | str) -> str:
    return value if isinstance(value, str) else numbers.short(value)
