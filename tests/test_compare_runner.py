"""A comparison from its plan to results.json: target, more seeds and arms, budgets, and what is timed."""

import json
import shutil
from typing import Any

import pytest
from comparing import cell
from instant_comparison import ARMS, compared

from psgd.compare import timing
from psgd.compare.analysis.findings import findings
from psgd.compare.finished_run import read_examples_per_epoch
from psgd.compare.modelled.clock import times
from psgd.compare.report import series_csv

__all__ = ["compared"]  # a fixture


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


def test_another_target_trains_nothing_and_names_the_one_before(compared):
    before, _ = compared(seeds=[0, 1])
    for _ in range(2):
        after, runs = compared(seeds=[0, 1], target={"value": 0.93})
        assert after["target"]["note"] == "as the config says, after an earlier call with the target 0.940"
        assert not runs.trained
        assert [cell["runs"] for cell in after["cells"]] == [cell["runs"] for cell in before["cells"]]
    again, _ = compared(seeds=[0, 1])
    assert again["target"] == before["target"]


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
