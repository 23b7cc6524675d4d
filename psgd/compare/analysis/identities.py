"""Free checks of a comparison: arms that must agree, because what they do is the same."""

from itertools import combinations

import numpy as np

from psgd.compare.analysis.grid import cell_name
from psgd.compare.results_file import Json

TOLERANCE = 1e-3  # relative, of losses whose runs differ by rounding alone

AVERAGES = {"parameter-averaging", "weighted-averaging"}
EQUAL_SPEEDS = "with equal speeds, weighted averaging is parameter averaging: the same hash"
PERIOD_ONE = "with period 1 and plain SGD, averaging parameters is averaging gradients: the same losses to rounding"

# Plain SGD. Gradients are clipped before or after their mean, and a rate that changes does so within a round.
_PLAIN = {
    "optimizer.name": "sgd",
    "optimizer.momentum": 0,
    "optimizer.clip_norm": None,
    "optimizer.schedule": "constant",
    "optimizer.warmup": 0,
}


def identities(results: Json) -> list[Json]:
    """Check all pairs of cells that must agree; entries of findings["identities"]."""
    found = []
    for one, other in combinations(results["cells"], 2):
        if one["at"] != other["at"] or _rest(results, one) != _rest(results, other):
            continue
        strategies = {one["strategy"], other["strategy"]}
        if {*one["speeds"], *other["speeds"]} != {1.0}:
            continue
        if strategies == AVERAGES and one["period"] == other["period"] and _same_state(results, one, other):
            found.append(_entry(EQUAL_SPEEDS, one, other, _same_hashes(one, other)))
        elif "gradient-averaging" in strategies and len(strategies) == 2 and _period_one(results, one, other):
            found.append(_entry(PERIOD_ONE, one, other, _same_losses(one, other)))
    return found


def _rest(results: Json, cell: Json) -> Json:
    """The settings of a cell that its strategy does not explain."""
    return {key: value for key, value in _all(results, cell).items() if not key.startswith("strategy.")}


def _all(results: Json, cell: Json) -> Json:
    return {**results["base"], **cell["settings"]}


def _same_state(results: Json, one: Json, other: Json) -> bool:
    """Whether both do the same with the optimizer's moments, and with the average, at a combination."""
    name = "strategy.optimizer_state"
    same = _all(results, one).get(name) == _all(results, other).get(name)
    return bool(same and _outer(results, one) == _outer(results, other))


def _outer(results: Json, cell: Json) -> Json:
    """The settings of a cell's outer optimizer; none if it has none."""
    values = _all(results, cell).items()
    return {key: value for key, value in values if key.startswith("strategy.outer") and value is not None}


def _period_one(results: Json, one: Json, other: Json) -> bool:
    values = _all(results, one)
    plain = all(values.get(name) == value for name, value in _PLAIN.items())
    plain &= not (_outer(results, one) or _outer(results, other))
    return plain and {one["period"], other["period"]} == {None, 1}


def _runs(one: Json, other: Json) -> list[tuple[Json, Json]]:
    by_seed = {run["seed"]: run for run in other["runs"]}
    return [(run, by_seed[run["seed"]]) for run in one["runs"] if run["seed"] in by_seed]


def _same_hashes(one: Json, other: Json) -> tuple[bool, str]:
    pairs = _runs(one, other)
    equal = sum(a["sha256"] is not None and a["sha256"] == b["sha256"] for a, b in pairs)
    return equal == len(pairs) > 0, f"{equal} of {len(pairs)} seeds have one hash"


def _same_losses(one: Json, other: Json) -> tuple[bool, str]:
    worst, pairs = 0.0, _runs(one, other)
    for a, b in pairs:
        x, y = (np.array(run["series"].get("validation_loss", []), float) for run in (a, b))
        if len(x) != len(y) or not len(x):
            return False, f"seed {a['seed']}: {len(x)} and {len(y)} evaluations"
        worst = max(worst, float(np.max(np.abs(x - y) / np.maximum(np.abs(x), 1e-12))))
    return bool(pairs) and worst <= TOLERANCE, f"validation losses differ by {worst:.1e} at most"


def _entry(name: str, one: Json, other: Json, outcome: tuple[bool, str]) -> Json:
    return {"name": name, "cells": [cell_name(one), cell_name(other)], "holds": outcome[0], "detail": outcome[1]}
