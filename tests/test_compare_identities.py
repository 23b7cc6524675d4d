"""Arms of a comparison that must agree by their mathematics."""

import copy
from typing import Any

from psgd.compare.analysis.identities import EQUAL_SPEEDS, PERIOD_ONE, identities


def pair(**changed: Any) -> dict[str, Any]:
    """Results of two cells that must have one hash, but for what is changed in the second."""
    run = {"seed": 0, "sha256": "a", "series": {"validation_loss": [0.5, 0.4]}}
    one = {"arm": "average", "at": {}, "settings": {}, "strategy": "parameter-averaging", "period": 5}
    one |= {"speeds": [1.0, 1.0], "runs": [run]}
    other = {**copy.deepcopy(one), "arm": "weighted", "strategy": "weighted-averaging", **changed}
    plain = {"name": "sgd", "momentum": 0.0, "clip_norm": None, "schedule": "constant", "warmup": 0.0}
    base = {f"optimizer.{name}": value for name, value in plain.items()}
    return {"base": {**base, "strategy.optimizer_state": "keep"}, "cells": [one, other]}


def test_weighted_averaging_with_equal_speeds_has_the_hash_of_parameter_averaging():
    assert [(e["name"], e["holds"]) for e in identities(pair())] == [(EQUAL_SPEEDS, True)]
    another = [{"seed": 0, "sha256": "b", "series": {}}]
    assert [(e["holds"], e["detail"]) for e in identities(pair(runs=another))] == [
        (False, "0 of 1 seeds have one hash")
    ]
    for changed in (
        {"period": 6},
        {"speeds": [1.0, 0.5]},
        {"settings": {"optimizer.learning_rate": 2}},
        {"settings": {"strategy.optimizer_state": "reset"}},
        {"settings": {"strategy.outer": {"momentum": 0.9}}},
        {"settings": {"strategy.outer.momentum": 0.9}},
        {"at": {"workers": "3"}},
    ):
        assert identities(pair(**changed)) == [], changed


def test_period_one_has_the_losses_of_gradient_averaging():
    sync = {"arm": "sync", "strategy": "gradient-averaging", "period": None}
    found = pair(**sync)
    found["cells"][0]["period"] = 1
    assert [(e["name"], e["holds"]) for e in identities(found)] == [(PERIOD_ONE, True)]
    outer = {**found["cells"][0], "settings": {"strategy.outer": {"momentum": 0.9}}}
    assert identities({**found, "cells": [outer, found["cells"][1]]}) == []
    found["cells"][1]["runs"][0]["series"]["validation_loss"] = [0.5, 0.41]
    assert [(e["holds"], e["detail"]) for e in identities(found)] == [
        (False, "validation losses differ by 2.5e-02 at most")
    ]
    other = {"name": "adam", "momentum": 0.9, "clip_norm": 1.0, "schedule": "step", "warmup": 1.0}
    for name, value in other.items():
        assert identities({**found, "base": {**found["base"], f"optimizer.{name}": value}}) == [], name
