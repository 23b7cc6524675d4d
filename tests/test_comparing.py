"""A comparison from its plan to results.json: target, broken arms, diverged runs, more seeds and arms, another call."""

import copy
import json
import re
import shutil
from typing import Any

import pytest
from compare_results import results as made_results
from comparing import COSTS, Costs, InstantRuns, Score

from psgd.compare import directory as directory_module
from psgd.compare import timing
from psgd.compare.clock import times
from psgd.compare.comparing import Comparing
from psgd.compare.directory import open_directory
from psgd.compare.findings import findings
from psgd.compare.identities import EQUAL_SPEEDS, PERIOD_ONE, identities
from psgd.compare.plan import Plan
from psgd.compare.record import read_examples_per_epoch
from psgd.compare.regression import Regressed, check, parse_share
from psgd.compare.report import series_csv
from psgd.config.comparison_file import read_comparison
from psgd.config.document import write
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
        path.write_text(write({"arms": ARMS, "budget": {"epochs": 3}, **sections}))
        plan = Plan(read_comparison(str(path)), lambda settings: fingerprint)
        runs = InstantRuns(tmp_path, score)
        results = Comparing(plan, runs, Costs(), earlier[-1] if earlier else None).carry_out()  # type: ignore[arg-type]
        earlier.append(results)
        return results, runs

    return run


def cell(results: dict[str, Any], arm: str, **at: str) -> dict[str, Any]:
    return next(cell for cell in results["cells"] if cell["arm"] == arm and at.items() <= cell["at"].items())


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
    path.write_text(write({"arms": ARMS, **sections}))
    plan = Plan(read_comparison(str(path)))
    open_directory(directory, plan.comparison, plan.base)


def test_another_comparison_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(directory_module, "lock", lambda path: None)  # it holds until the process ends
    path, directory, base = tmp_path / "c.yaml", tmp_path / "out", tmp_path / "base.yaml"
    base.write_text("workers: 2")
    opened(path, directory, base="base.yaml", seeds=[0, 1])
    free = {"seeds": [1, 2, 0], "question": "Why?", "price": {"x": {"hosts": 1}}, "reference": "large"}
    opened(path, directory, base="base.yaml", **free, arms={**ARMS, "more": {}})
    base.write_text("{workers: 2, group: threads, output: runs/x}")
    opened(path, directory, base="base.yaml", **free, arms={**ARMS, "more": {}})
    base.write_text("{workers: 3, optimizer: {learning_rate: 2}}")
    with pytest.raises(UsageError) as caught:
        opened(path, directory, base="base.yaml", seeds=[1, 2], arms={"sync": {}}, budget={"epochs": 1})
    assert str(caught.value) == (
        f"{directory} has another comparison: budget, arms.sync, arms.average, arms.large, arms.more, seeds, "
        "optimizer.learning_rate of the base, workers of the base differ from its comparison.yaml; "
        "choose another --output"
    )


def test_a_directory_of_something_else_is_refused(tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "precious.txt").write_text("")
    with pytest.raises(UsageError, match="is not the directory of a comparison; choose another --output"):
        opened(tmp_path / "c.yaml", tmp_path / "out")
    with pytest.raises(UsageError, match="is a file; a comparison needs a directory"):
        opened(tmp_path / "c.yaml", tmp_path / "c.yaml")


@pytest.fixture
def faster():
    """Results, and those of a later psgd that takes `factor` times as long."""

    def make(factor: float) -> tuple[dict[str, Any], dict[str, Any]]:
        before, after = made_results(), made_results()
        for each in after["cells"]:
            for name in each["costs"] or ():
                each["costs"][name] *= factor
            for run in each["runs"]:
                if run["measured"]:
                    run["measured"]["seconds"] = [[factor * s for s in row] for row in run["measured"]["seconds"]]
        return before, after

    return make


def test_a_regression_is_named(faster):
    before, after = faster(1.2)
    with pytest.raises(Regressed) as caught:
        check(after, before, 0.1)
    head, *lines = str(caught.value).splitlines()
    assert head == "slower by more than 10%:"
    assert all("(+20.0%)" in line for line in lines if "price here" in line)
    assert any(line.startswith("sync, workers 1, speeds equal, price here: ") for line in lines)
    assert Regressed.code == 6
    assert all("(+20.0%)" in line for line in check(after, before, 0.25) if "price here" in line)
    assert all("(-" in line or "+0.0%" in line for line in check(before, after, 0.0))


def test_an_arm_that_fails_now_or_misses_the_target_is_a_regression(faster):
    before, after = faster(1.0)
    broken, missed = cell(after, "sync", workers="1"), cell(after, "sync", workers="2", speeds="equal")
    broken.update(error="no memory", runs=[], costs=None)
    for run in missed["runs"]:
        run["series"]["validation_accuracy"] = [0.1 for _ in run["series"]["validation_accuracy"]]
    with pytest.raises(Regressed) as caught:
        check(after, before, 0.1)
    text = str(caught.value)
    assert "sync, workers 1, speeds equal, price here: " in text
    assert "s before, failed now" in text
    assert "s before, reached by 0 of 3 now" in text
    assert "average, workers 1" not in text


def test_both_are_judged_by_the_earlier_target(faster):
    before, after = faster(1.0)
    after["target"]["value"] = 0.5  # an automatic target that has changed: easier to reach
    assert all("(+0.0%)" in line for line in check(after, before, 0.0))
    after["machine"]["cpu"] = "another"
    assert check(after, before, 0.0)[-1].startswith(
        "The earlier results are of another machine: AMD EPYC 9R14, not ano"
    )
    after["target"]["metric"] = "validation_loss"
    with pytest.raises(UsageError, match="the target is a validation_loss and was a validation_accuracy before"):
        check(after, before, 0.0)


@pytest.mark.parametrize(
    ("section", "name", "value", "words"),
    [
        (
            "prices",
            "slow",
            {"hosts": 4, "workers_per_host": None, "network": "1Mbit,50ms", "machine_speed": 1.0},
            "the price slow is {hosts: 4, network: 1Mbit,50ms, machine_speed: 1.0} and was {hosts: 4, network: "
            "100Mbit,1ms, machine_speed: 1.0} before",
        ),
        ("prices", "here", {"hosts": 1}, "the price here is {hosts: 1} and was measured before"),
        ("budget", "epochs", 30.0, "budget.epochs is 30 and was 20 before"),
        ("budget", "evaluate_every", 0.5, "budget.evaluate_every is 0.5 and was 1 before"),
    ],
)
def test_times_that_mean_something_else_cannot_be_compared(faster, section, name, value, words):
    before, after = faster(1.0)
    after[section] = {**after[section], name: value}
    with pytest.raises(UsageError, match=re.escape(words)):
        check(after, before, 0.1)
    after[section] = {**before[section], "another": value}
    assert check(after, before, 0.1)


def test_what_a_price_costs_does_not_change_its_times(faster):
    before, after = faster(1.0)
    after["prices"] = {**after["prices"], "slow": {**after["prices"]["slow"], "dollars_per_host_hour": 9.0}}
    assert check(after, before, 0.1)


def test_results_with_nothing_in_common_cannot_be_compared(faster):
    before, after = faster(1.0)
    for each in before["cells"]:
        each["arm"] = f"old {each['arm']}"
    before["arms"], before["reference"] = [f"old {arm}" for arm in before["arms"]], "old sync"
    with pytest.raises(UsageError, match="nothing can be compared"):
        check(after, before, 0.1)


def test_shares():
    assert [parse_share(text) for text in ("10%", "0.1", "0", "250%")] == [0.1, 0.1, 0, 2.5]
    for wrong in ("ten", "-1%", "nan", ""):
        with pytest.raises(UsageError, match="give a percentage such as 10%"):
            parse_share(wrong)


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
        {"at": {"workers": "3"}},
    ):
        assert identities(pair(**changed)) == [], changed


def test_period_one_has_the_losses_of_gradient_averaging():
    sync = {"arm": "sync", "strategy": "gradient-averaging", "period": None}
    found = pair(**sync)
    found["cells"][0]["period"] = 1
    assert [(e["name"], e["holds"]) for e in identities(found)] == [(PERIOD_ONE, True)]
    found["cells"][1]["runs"][0]["series"]["validation_loss"] = [0.5, 0.41]
    assert [(e["holds"], e["detail"]) for e in identities(found)] == [
        (False, "validation losses differ by 2.5e-02 at most")
    ]
    other = {"name": "adam", "momentum": 0.9, "clip_norm": 1.0, "schedule": "step", "warmup": 1.0}
    for name, value in other.items():
        assert identities({**found, "base": {**found["base"], f"optimizer.{name}": value}}) == [], name
