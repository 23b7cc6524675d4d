"""A comparison from its plan to results.json: target, broken arms, diverged runs, more seeds and arms, another call."""

import json
import shutil
from typing import Any

import pytest
from comparing import COSTS, Costs, InstantRuns, Score, cell

from psgd.compare import directory as directory_module
from psgd.compare import timing
from psgd.compare.analysis.findings import findings
from psgd.compare.directory import open_comparison
from psgd.compare.finished_run import read_examples_per_epoch
from psgd.compare.modelled.clock import times
from psgd.compare.plan import ComparisonPlan
from psgd.compare.report import series_csv
from psgd.compare.runner import ComparisonRunner
from psgd.config.comparison_file import read_comparison
from psgd.config.document import to_yaml
from psgd.core.errors import Diverged, UsageError

ARMS = {
    "sync": {"strategy.name": "gradient-averaging"},
    "average": {"strategy.name": "parameter-averaging"},
    "large": {"strategy.name": "gradient-averaging", "training.batch_size_per_worker": 20},
}


@pytest.fixture(autouse=True)
def idle(monkeypatch):
    monkeypatch.setattr(timing, "busy_cores", lambda: 0.0)


def score(settings: Any) -> Any:
    """Better with more workers, and with the seed's number."""
    last = 0.9 + 0.001 * settings.training.seed + 0.01 * settings.workers
    return [0.5, last, last - 0.002]


@pytest.fixture
def compared(tmp_path):
    """A function that carries out a comparison in `tmp_path`; returns its results and the runs."""
    earlier: list[dict[str, Any]] = []

    def run(score: Score = score, fingerprint: str = "", **sections: Any) -> tuple[dict[str, Any], InstantRuns]:
        path = tmp_path / "comparison.yaml"
        path.write_text(to_yaml({"arms": ARMS, "budget": {"epochs": 3}, **sections}))
        plan = ComparisonPlan(read_comparison(str(path)), lambda settings: fingerprint)
        runs = InstantRuns(tmp_path, score)
        results = ComparisonRunner(plan, runs, Costs(), earlier[-1] if earlier else None).run()  # type: ignore[arg-type]
        earlier.append(results)
        return results, runs

    return run


def test_the_target_is_the_median_over_the_seeds_of_the_best_of_one_worker(compared):
    results, _ = compared(grid={"workers": [2, 1]}, seeds=[0, 1, 5])
    assert results["target"] == {
        "metric": "validation_accuracy",
        "value": pytest.approx(0.9 + 0.001 + 0.01),
        "origin": "auto",
        "note": "the median over the seeds 0, 1, 5 of the best validation accuracy of sync, workers 1",
    }


def test_more_than_half_of_an_even_number_of_runs_reach_their_own_target(compared):
    results, _ = compared(seeds=[0, 1, 2, 3])
    (first,) = [c for c in results["cells"] if c["arm"] == "sync"]
    best = [max(run["series"]["validation_accuracy"]) for run in first["runs"]]
    assert results["target"]["value"] == sorted(best)[1]
    assert findings(results)["tables"][0]["rows"][0]["reached"] == 3


def test_the_target_of_a_comparison_without_one_worker_is_that_of_the_fewest(compared):
    results, _ = compared(grid={"workers": [4, 2]}, reference="average")
    assert results["target"]["value"] == pytest.approx(0.9 + 0.001 + 0.02)
    assert results["target"]["note"].endswith("of sync, workers 2")


def test_a_given_target_is_kept(compared):
    results, _ = compared(target={"value": 0.93})
    assert (results["target"]["value"], results["target"]["origin"]) == (0.93, "given")


def test_more_seeds_and_arms_change_no_earlier_row_and_not_the_target(compared):
    before, _ = compared(grid={"workers": [1, 2]}, seeds=[0, 1])
    arms = {**ARMS, "new": {"strategy.name": "parameter-averaging", "strategy.period": 7}}
    after, runs = compared(grid={"workers": [1, 2]}, seeds=[0, 1, 7], arms=arms)
    assert after["target"] == before["target"]
    for old in before["cells"]:
        new = cell(after, old["arm"], **old["at"])
        assert [run for run in new["runs"] if run["seed"] in (0, 1)] == old["runs"]
        assert {**new, "runs": None} == {**old, "runs": None}
    trained = {(trial.settings.training.seed, trial.settings.averaging and trial.settings.averaging.period)
               for trial in runs.trained}  # fmt: skip
    assert trained == {(7, None), (7, 50), (0, 7), (1, 7), (7, 7)}
    other_reference, _ = compared(grid={"workers": [1, 2]}, seeds=[0, 1, 7], arms=arms, reference="new")
    assert other_reference["target"] == before["target"]


def test_other_data_have_another_target(compared):
    compared(seeds=[0])
    results, _ = compared(lambda settings: [0.7], "other data", seeds=[0])
    assert results["target"]["value"] == 0.7


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


@pytest.mark.parametrize(
    ("seeds", "epochs"),
    [
        ([0, 1, 2], 2),  # 1, 2, never: not the mean of 1 and 2
        ([0, 1, 2, 3], None),  # half is not more than half
        ([0, 1, 2, 4], (2 + 3) / 2),  # 1, 2, 3, never
    ],
)
def test_epochs_bytes_and_dollars_are_of_all_runs_as_times_are(compared, seeds, epochs):
    """Seeds 0 and 1 reach the target in epochs 1 and 2, seed 4 in the third, the others never. A round is an epoch."""

    def by_seed(settings: Any) -> Any:
        return [[0.9, 0.9, 0.9], [0.5, 0.9, 0.9], [0.5] * 3, [0.5] * 3, [0.5, 0.5, 0.9]][settings.training.seed]

    price = {"hosts": 4, "network": "1Mbit,1ms", "dollars_per_host_hour": 2.0, "watts_per_host": 100.0}
    results, _ = compared(
        by_seed, grid={"workers": [4]}, seeds=seeds, price={"far": price}, target={"value": 0.8}, arms={"sync": {}}
    )
    (row,) = findings(results)["tables"][0]["rows"]
    assert row["epochs_median"] == epochs
    if epochs is None:
        assert [row[name] for name in ("median", "bytes_median", "dollars", "watt_hours")] == [None] * 4
    else:
        seconds = epochs * row["times"][0]["seconds"]
        assert row["median"] == pytest.approx(seconds)
        assert row["bytes_median"] == 40 * epochs
        assert (row["dollars"], row["watt_hours"]) == pytest.approx((seconds / 3600 * 4 * 2, seconds / 3600 * 4 * 100))


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


def test_epochs_and_budgets_are_of_the_cells_own_data(compared):
    """The target is reached in epoch 2 on 1,000 examples as on 8,000, whose budget takes 8 times as long."""
    sizes = {str(size): {"data.source": "synthetic", "data.examples": size} for size in (1000, 8000)}
    results, _ = compared(
        lambda s: None if s.averaging else [0.1, 0.9, 0.9],
        grid={"data": sizes},
        price={"model": {"hosts": 1}},
        target={"value": 0.8},
        arms={"sync": ARMS["sync"], "average": {**ARMS["average"], "strategy.period": 5}},
    )
    tables = findings(results)["tables"]
    budgets = {}
    for table in tables:
        sync, average = table["rows"]
        assert sync["epochs_median"] == 2.0
        budgets[table["at"]["data"]] = average["times"][0]["seconds"]
    assert budgets["8000"] == pytest.approx(8 * budgets["1000"])
    rows = [row.split(",") for row in series_csv.table(results, times).splitlines()]
    epochs = rows[0].index("epochs")
    assert [row[epochs] for row in rows[1:]] == ["1", "2", "3"] * 6
    for each in results["cells"]:  # as an earlier psgd wrote it
        each.pop("examples_per_epoch")
    results["budget"]["examples_per_epoch"] = 1000.0
    assert [table["rows"][0]["epochs_median"] for table in findings(results)["tables"]] == [2.0, 16.0]


def test_examples_of_an_epoch_in_the_summary_of_a_run(tmp_path):
    for summary in ({}, {"epochs": 0.0, "examples": 0}):
        (tmp_path / "summary.json").write_text(json.dumps(summary))
        assert read_examples_per_epoch(tmp_path) is None
    (tmp_path / "summary.json").write_text('{"epochs": 1.1111111111111112, "examples": 1000}')
    assert read_examples_per_epoch(tmp_path) == 900


def test_unequal_speeds_are_not_timed(compared):
    results, _ = compared(grid={"speeds": {"equal": {}, "uneven": {"cluster.speeds": {"repeat": [1, 0.5]}}}})
    for each in results["cells"]:
        assert [run["measured"] is not None for run in each["runs"]] == [each["at"]["speeds"] == "equal"] * 3
        assert each["speeds"] == ([1.0] * 4 if each["at"]["speeds"] == "equal" else [1.0, 0.5, 1.0, 0.5])
    assert cell(results, "sync")["runs"][0]["measured"] == {
        "group": "serial", "processes": 1, "idle": True, "seconds": [[0.5, 1.0, 1.5]],
    }  # fmt: skip


def test_arms_are_timed_in_turn_and_not_one_after_the_other(compared):
    """What slows the machine down for a while must not slow down all seeds of one arm."""
    _, runs = compared()
    timed = [trial.settings.training.seed for trial in runs.trained[-9:]]
    assert timed == [0, 0, 0, 1, 1, 1, 2, 2, 2]


def test_what_was_busy_when_it_was_timed_stays_so_until_it_is_removed(compared, monkeypatch, tmp_path):
    monkeypatch.setattr(timing, "busy_cores", lambda: 2.0)
    compared(seeds=[0])
    monkeypatch.setattr(timing, "busy_cores", lambda: 0.0)
    results, _ = compared(seeds=[0, 1])
    assert [run["measured"]["idle"] for run in cell(results, "sync")["runs"]] == [False, True]
    shutil.rmtree(tmp_path / "timed")  # as the answer says
    results, _ = compared(seeds=[0, 1])
    assert [run["measured"]["idle"] for run in cell(results, "sync")["runs"]] == [True, True]


@pytest.mark.parametrize("text", ["", "null", "[]"])
def test_a_broken_note_of_a_timed_run_is_one_of_a_busy_machine(compared, monkeypatch, tmp_path, text):
    monkeypatch.setattr(timing, "busy_cores", lambda: 0.0)
    compared(seeds=[0])
    for note in (tmp_path / "timed").glob("*.json"):
        note.write_text(text)
    results, _ = compared(seeds=[0])
    assert [run["measured"]["idle"] for run in cell(results, "sync")["runs"]] == [False]


def test_a_cell_that_could_not_be_tuned_is_broken_and_one_at_an_edge_not_comparable(compared):
    def tuned(settings: Any) -> Any:
        if settings.averaging:
            return "no memory"
        return [0.1 * settings.optimizer.learning_rate if settings.training.batch_size_per_worker == 20 else 0.9]

    results, runs = compared(tuned, tune={"optimizer.learning_rate": {"values": [1, 2, 3]}, "for_each": ["arm"]})
    assert cell(results, "average")["error"] == "every value of optimizer.learning_rate failed: no memory"
    assert cell(results, "average")["runs"] == []
    large = cell(results, "large")
    assert (large["tuned"], large["comparable"], large["error"]) == ({"optimizer.learning_rate": 3}, False, None)
    assert large["why_not"].endswith("and a list of values is not extended")
    assert large["settings"]["optimizer.learning_rate"] == 3
    tuning = {trial.identity for trial in runs.trained if trial.settings.training.seed == 100}
    assert not tuning & {run["id"] for each in results["cells"] for run in each["runs"]}


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
        f"{directory} has another comparison: budget, arms.sync, grid.rows.few, "
        "optimizer.learning_rate of the base, workers of the base differ from its comparison.yaml; "
        "choose another --output, or give what is changed in arms or grid another name"
    )


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
