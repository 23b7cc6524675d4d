"""The directory of a comparison: what another call may change in it, and what it refuses."""

from typing import Any

import pytest
from instant_comparison import ARMS

from psgd.compare import directory as directory_module
from psgd.compare.directory import open_comparison
from psgd.compare.plan import ComparisonPlan
from psgd.config.comparison_file import read_comparison
from psgd.config.document import to_yaml
from psgd.core.errors import UsageError


def opened(path: Any, directory: Any, **sections: Any) -> None:
    path.write_text(to_yaml({"arms": ARMS, **sections}))
    plan = ComparisonPlan(read_comparison(str(path)))
    open_comparison(directory, plan.comparison, plan.base)


def test_another_comparison_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(directory_module, "lock", lambda path: None)  # it holds until the process ends
    path, directory, base = tmp_path / "c.yaml", tmp_path / "out", tmp_path / "base.yaml"
    base.write_text("workers: 2")
    opened(path, directory, base="base.yaml", seeds=[0, 1])
    free = {"seeds": [1, 2, 0], "question": "Why?", "price": {"x": {"hosts": 1}}, "reference": "large"}
    opened(path, directory, base="base.yaml", **free, arms={**ARMS, "more": {}})
    base.write_text("{workers: 2, group: threads, output: runs/x}")
    opened(path, directory, base="base.yaml", **free, arms={**ARMS, "more": {}}, grid={"rows": {"few": {"workers": 1}}})
    base.write_text("{workers: 3, optimizer: {learning_rate: 2}}")
    other = {"arms": {"sync": {}, "new": {}}, "grid": {"rows": {"few": {"workers": 2}, "many": {"workers": 3}}}}
    with pytest.raises(UsageError) as caught:
        opened(path, directory, base="base.yaml", seeds=[1, 2], budget={"epochs": 1}, **other)
    assert str(caught.value) == (
        f"{directory} has another comparison: what differs from its comparison.yaml is budget, arms.sync, "
        "grid.rows.few, optimizer.learning_rate of the base, workers of the base; "
        "choose another --output, or give what is changed in arms or grid another name"
    )


def test_another_value_of_the_target_is_allowed_and_another_metric_is_not(tmp_path, monkeypatch):
    monkeypatch.setattr(directory_module, "lock", lambda path: None)
    path, directory = tmp_path / "c.yaml", tmp_path / "out"
    opened(path, directory)
    opened(path, directory, target={"value": 0.9})
    with pytest.raises(UsageError, match=r"is target\.metric;"):
        opened(path, directory, target={"metric": "validation_loss", "value": 0.9})


def test_arms_seeds_and_points_of_the_grid_can_be_left_out_and_added(tmp_path, monkeypatch, capfd):
    monkeypatch.setattr(directory_module, "lock", lambda path: None)
    path, directory = tmp_path / "c.yaml", tmp_path / "out"
    opened(path, directory, seeds=[0, 1, 2], grid={"workers": [1, 2]}, exclude=[{"arm": "sync", "workers": 1}])
    assert capfd.readouterr().err == ""
    fewer = {"average": ARMS["average"], "more": {}}
    opened(path, directory, seeds=[0], arms=fewer, grid={"workers": [2, 4]}, exclude=[{"arm": "more", "workers": 4}])
    assert capfd.readouterr().err == (
        f"psgd: arm sync, arm large, seed 1, seed 2 left out now; the runs stay in {directory / 'runs'}\n"
    )
    opened(path, directory, seeds=[0], arms=fewer)
    assert capfd.readouterr().err == ""


def test_a_directory_of_something_else_is_refused(tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "precious.txt").write_text("")
    with pytest.raises(UsageError, match="is not the directory of a comparison; choose another --output"):
        opened(tmp_path / "c.yaml", tmp_path / "out")
    with pytest.raises(UsageError, match="is a file; a comparison needs a directory"):
        opened(tmp_path / "c.yaml", tmp_path / "c.yaml")
    (tmp_path / "link").symlink_to("gone")
    with pytest.raises(UsageError, match="link is a link to gone, which does not exist; a comparison needs"):
        opened(tmp_path / "c.yaml", tmp_path / "link")
