"""The plan of a comparison: its cells, and the identity of runs."""

import re
from pathlib import Path
from typing import Any

import pytest
from comparison_plans import ARMS, RATES, plan

from psgd.compare.directory import BASE, CONFIG, open_comparison
from psgd.compare.plan import VALIDATION, ComparisonPlan, Fingerprints, differences
from psgd.config.comparison_file import read_comparison
from psgd.config.document import to_yaml
from psgd.core import version
from psgd.core.errors import DataError, UsageError

__all__ = ["plan"]  # a fixture
GRID = {"workers": [1, 2], "speeds": {"equal": {}, "uneven": {"cluster.speeds": {"repeat": [1, 0.5]}}}}


def only(plan: ComparisonPlan, arm: str = "sync", **at: str) -> Any:
    """The cell of an arm at a place."""
    return next(cell for cell in plan.cells if cell.arm == arm and at.items() <= dict(cell.at).items())


def test_cells_are_arms_times_axes_without_what_is_excluded(plan):
    found = plan(grid=GRID, exclude=[{"workers": 1, "speeds": "uneven"}, {"arm": "sync", "workers": 2}])
    assert [cell.name for cell in found.cells] == [
        "sync, workers 1, speeds equal",
        *(
            f"{arm}, {place}"
            for arm in ("average", "weighted")
            for place in ("workers 1, speeds equal", "workers 2, speeds equal", "workers 2, speeds uneven")
        ),
    ]
    assert found.axes == {"workers": ["1", "2"], "speeds": ["equal", "uneven"]}


def test_a_value_is_named_on_one_line_whatever_it_is(plan):
    """A cell's name is in one line of messages, in tables, and after --verify."""
    speeds, adam = [1.0, 0.25] * 36, {"name": "adam", "learning_rate": 0.01}
    found = plan(grid={"workers": [72], "cluster.speeds": [None, speeds], "optimizer": [{"name": "sgd"}, adam]})
    assert found.axes["cluster.speeds"] == ["null", f"[{', '.join(map(str, speeds))}]"]
    assert found.axes["optimizer"] == ["{name: sgd}", "{name: adam, learning_rate: 0.01}"]
    settings = found.settings(only(found, optimizer="{name: adam, learning_rate: 0.01}"), 0)
    assert (settings.optimizer.name, settings.optimizer.learning_rate) == ("adam", 0.01)


def test_speeds_are_repeated_for_all_workers(plan):
    found = plan(grid={**GRID, "workers": [1, 2, 5]})
    speeds = [found.settings(only(found, workers=str(n), speeds="uneven"), 0).cluster.speeds for n in (1, 2, 5)]
    assert speeds == [[1.0], [1.0, 0.5], [1.0, 0.5, 1.0, 0.5, 1.0]]


def test_the_budget_is_the_same_for_all_and_validation_data_are_set_aside(plan):
    found = plan(budget={"epochs": 3, "evaluate_every": 0.5}, target={"value": 0.9})
    for cell in found.cells:
        settings = found.settings(cell, 7)
        training = settings.training
        assert (training.epochs, training.evaluate_every, training.seed, training.target) == (3, 0.5, 7, None)
        assert training.early_stop is None
        assert settings.data.validation == VALIDATION


def test_the_base_is_found_beside_the_config(tmp_path):
    (tmp_path / "deep").mkdir()
    (tmp_path / "base.yaml").write_text("workers: 3\ndata: {validation: 0.2}\n")
    (tmp_path / "deep" / "c.yaml").write_text(to_yaml({"base": "../base.yaml", "arms": ARMS}))
    found = ComparisonPlan(read_comparison(str(tmp_path / "deep" / "c.yaml")))
    assert found.base.workers == 3
    assert found.settings(found.cells[0], 0).data.validation == 0.2
    assert "training.seed" not in differences(found.base, found.settings(found.cells[0], 9))


def test_an_arm_has_its_own_values_to_try(plan):
    own = {"optimizer.learning_rate": {"linear": [1, 3]}}
    found = plan(arms={**ARMS, "own": {"strategy.name": "gradient-averaging", "tune": own}}, tune=RATES)
    assert found.spaces["own"].linear == [1, 3]
    assert found.spaces["own"].log is None
    assert found.spaces["own"].points == 5
    assert found.spaces["sync"].log == [0.01, 1]


def test_tuning_gives_no_arm_an_outer_optimizer(plan):
    """A value of its learning rate would make another strategy of an arm without one."""
    rates = {"strategy.outer.learning_rate": {"values": [0.5, 1]}}
    average = {"strategy.name": "parameter-averaging"}
    with pytest.raises(
        UsageError, match=r"^average: tune tries .*, but strategy.outer is null, .* set strategy.outer,"
    ):
        plan(arms={"average": average, "outer": {**average, "strategy.outer": {}}}, tune=rates)
    found = plan(arms={"outer": {**average, "strategy.outer": {"momentum": 0.5}}}, tune=rates)
    assert found.settings(found.cells[0], 0, 0.5).strategy.outer.momentum == 0.5


def test_equal_settings_are_one_run_whatever_the_arm(plan):
    twice = plan(arms={"one": {"strategy.name": "gradient-averaging"}, "two": {"strategy.name": "gradient-averaging"}})
    one, two = (twice.trial(cell, 0).identity for cell in twice.cells)
    assert one == two
    assert re.fullmatch("[0-9a-f]{16}", one)


def test_speeds_that_change_no_step_change_no_run(plan):
    found = plan(grid=GRID)
    places = [{"workers": "2", "speeds": label} for label in ("equal", "uneven")]
    for arm, shared in (("sync", True), ("average", True), ("weighted", False)):
        equal, uneven = (found.trial(only(found, arm, **place), 0).identity for place in places)
        assert (equal == uneven) is shared


def test_what_changes_a_result_changes_the_identity_and_nothing_else_does(plan, tmp_path, monkeypatch):
    found = plan(tune=RATES)
    cell = only(found)
    same = found.trial(cell, 0, 0.1).identity
    assert found.trial(cell, 1, 0.1).identity != same
    assert found.trial(cell, 0, 0.2).identity != same
    assert plan("other data", tune=RATES).trial(cell, 0, 0.1).identity != same
    assert plan(tune=RATES, budget={"epochs": 11}).trial(cell, 0, 0.1).identity != same
    (tmp_path / "base.yaml").write_text("{group: threads, output: runs/other, cluster: {processes: 2, patience: 5}}")
    assert plan(base="base.yaml", tune=RATES, question="Another?").trial(cell, 0, 0.1).identity == same
    (tmp_path / "base.yaml").write_text("training: {early_stop: {patience: 2}, target: 0.9}\ndata: {validation: 0.1}")
    assert plan(base="base.yaml", tune=RATES).trial(cell, 0, 0.1).identity == same
    (tmp_path / "base.yaml").write_text("model: {hidden: [65]}")
    assert plan(base="base.yaml", tune=RATES).trial(cell, 0, 0.1).identity != same
    monkeypatch.setattr("psgd.compare.plan.__version__", f"{version.__version__}.1")
    assert found.trial(cell, 0, 0.1).identity != same


def test_the_fingerprint_is_of_the_data_however_they_are_drawn(plan):
    fingerprints = Fingerprints()
    found = plan(arms={"a": {}, "b": {"data.mode": "partition"}})
    a, b = (fingerprints(found.settings(cell, seed)) for seed, cell in enumerate(found.cells))
    assert a == b
    other = plan(
        grid={"data": {"digits": {}, "made": {"data.source": "synthetic", "data.examples": 50}}}, arms={"a": {}}
    )
    digits, made = (fingerprints(other.settings(cell, 0)) for cell in other.cells)
    assert digits == a
    assert made != a


def test_data_that_cannot_be_read_are_an_error_before_anything_is_trained(tmp_path):
    (tmp_path / "base.yaml").write_text(f"data: {{source: npz, path: {tmp_path}/none.npz}}")
    (tmp_path / "c.yaml").write_text(to_yaml({"base": "base.yaml", "arms": ARMS}))
    with pytest.raises(DataError, match=r"none\.npz"):
        ComparisonPlan(read_comparison(str(tmp_path / "c.yaml")), Fingerprints())


def test_the_saved_config_and_base_are_the_same_comparison(plan, tmp_path):
    (tmp_path / "other.yaml").write_text("{workers: 2, output: runs/x}")
    found = plan(base="other.yaml", grid={"speeds": GRID["speeds"]}, tune=RATES, price={"one": {"hosts": 1}})
    open_comparison(tmp_path / "out", found.comparison, found.base)
    again = ComparisonPlan(read_comparison(str(tmp_path / "out" / CONFIG)), lambda settings: "data")
    assert Path(again.comparison.base) == tmp_path / "out" / BASE
    assert again.cells == found.cells
    assert [again.trial(c, 0).identity for c in again.cells] == [found.trial(c, 0).identity for c in found.cells]
