"""Broken arms and diverged runs of a comparison are visible, and the others are finished."""

from typing import Any

import pytest
from comparing import COSTS, Costs, cell
from instant_comparison import ARMS, compared, score

from psgd.compare.analysis.findings import findings
from psgd.core.errors import Diverged

__all__ = ["compared"]  # a fixture


def test_a_broken_arm_is_visible_and_the_others_are_finished(compared):
    def fails(settings: Any) -> Any:
        return "too little memory" if settings.training.batch_size_per_worker == 20 else score(settings)

    results, _ = compared(fails, grid={"workers": [1, 2]})
    for broken in (cell(results, "large", workers="1"), cell(results, "large", workers="2")):
        assert broken["error"] == "too little memory"
        assert [(run["seed"], run["status"]) for run in broken["runs"]] == [(0, "failed")]  # fails fast
    assert all(len(c["runs"]) == 3 and not c["error"] for c in results["cells"] if c["arm"] != "large")
    found = findings(results)
    assert "Failed: large, workers 1; large, workers 2." in found["answer"]
    assert [row["arm"] for row in found["tables"][0]["rows"]] == ["sync", "average"]


def test_an_arm_that_diverges_while_its_costs_are_measured_is_broken_and_the_others_have_times(
    compared, monkeypatch, capsys
):
    def look_up(costs: Costs, settings: Any) -> dict[str, Any]:
        if settings.averaging:
            raise Diverged("layer 1 weights is not finite")
        return {"parameters": 10, "message_bytes": 40, "costs": dict(COSTS)}

    monkeypatch.setattr(Costs, "look_up", look_up)
    slow = {"hosts": 4, "network": "1Mbit,1ms"}
    results, _ = compared(lambda s: None if s.averaging else score(s), price={"slow": slow})
    broken, problem = cell(results, "average"), "its costs cannot be measured: layer 1 weights is not finite"
    assert (broken["error"], broken["costs"]) == (problem, None)
    assert f"psgd: average failed: {problem}" in capsys.readouterr().err
    found = findings(results)
    assert "Failed: average." in found["answer"]
    assert [row["arm"] for row in found["tables"][0]["rows"]] == ["sync", "large"]


def test_if_the_arm_of_the_target_is_broken_there_is_no_answer(compared):
    results, _ = compared(lambda s: score(s) if s.averaging else "no memory", target={"value": "auto"})
    assert results["target"]["value"] is None
    assert findings(results)["answer"][0].startswith("No run of the arm that sets the target has a score")


def test_diverged_runs_stay_and_are_the_same_when_they_are_read_again(compared):
    def diverges(settings: Any) -> Any:
        return None if settings.averaging and settings.training.seed == 1 else score(settings)

    prices = {"here": "measured", "slow": {"hosts": 4, "network": "1Mbit,1ms"}}
    first, _ = compared(diverges, grid={"workers": [4]}, price=prices, target={"value": 0.9})
    again, runs = compared(diverges, grid={"workers": [4]}, price=prices, target={"value": 0.9})
    assert runs.trained == []
    assert again["cells"] == first["cells"]
    assert [run["status"] for run in cell(first, "average")["runs"]] == ["done", "diverged", "done"]
    assert cell(first, "average")["runs"][1]["error"] == "it diverged"
    tables = findings(first)["tables"]
    assert {table["price"] for table in tables} == {"here", "slow"}
    for table in tables:
        row = next(row for row in table["rows"] if row["arm"] == "average")
        assert (row["reached"], row["of"]) == (2, 3)  # though it diverged before the first evaluation
        assert row["times"][1]["seconds"] > row["times"][0]["seconds"]
        assert (row["final"], row["best"]) == (None, None)  # not the means of the two others


def test_final_and_best_scores_are_means_over_all_runs_and_a_run_that_diverges_has_no_final_one(compared):
    results, _ = compared(
        lambda s: [[0.5, 0.75, 0.5], [0.25, 0.5, 0.75]][s.training.seed],
        grid={"workers": [1]},
        seeds=[0, 1],
        target={"value": 0.4},
        arms={"sync": {}},
    )
    (row,) = findings(results)["tables"][0]["rows"]
    assert (row["final"], row["best"]) == ((0.5 + 0.75) / 2, 0.75)
    results["cells"][0]["runs"][1]["status"] = "diverged"  # after its third evaluation
    (row,) = findings(results)["tables"][0]["rows"]
    assert (row["final"], row["best"]) == (None, 0.75)


def test_an_arm_whose_runs_all_diverge_has_the_modelled_time_of_its_budget(compared):
    results, _ = compared(
        lambda s: None if s.averaging else score(s), price={"one": {"hosts": 1}}, target={"value": 0.9}
    )
    (table,) = findings(results)["tables"]
    row = next(row for row in table["rows"] if row["arm"] == "average")
    assert (row["reached"], row["of"], row["median"], row["computing"]) == (0, 3, None, None)
    # 3 epochs of 1,000 examples in rounds of 50 steps of 10 by 4 workers: 2; they meet
    work = 2 * (50 * 1e-4 + (4 * 1e-6 + 1e-5) / 4 + 5e-5)
    assert work < row["times"][0]["seconds"] < 1.2 * work


@pytest.mark.parametrize(("speeds", "steps"), [(None, 75), ([1, 0.5, 0.5, 0.25], 134)])
def test_an_only_round_that_diverges_has_the_modelled_time_of_all_its_steps(compared, speeds, steps):
    """At least 300 steps: 75 of each of 4 equal workers; 134, 67, 67 and 33 of unequal ones, all in the same time."""
    strategy = {"strategy.name": "weighted-averaging", "strategy.period": "end", "cluster.speeds": speeds}
    results, _ = compared(
        lambda s: None if s.averaging else score(s),
        price={"model": {"hosts": 1}},
        target={"value": 0.9},
        arms={"sync": ARMS["sync"], "once": strategy},
    )
    (table,) = findings(results)["tables"]
    seconds = table["rows"][1]["times"][0]["seconds"]
    assert seconds == pytest.approx(steps * 1e-4, abs=1e-4)  # and a combination
