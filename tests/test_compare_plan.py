"""The config of a comparison, its cells, and the identity of runs."""

import re
from pathlib import Path
from typing import Any

import pytest

from psgd.compare.directory import BASE, CONFIG, open_comparison
from psgd.compare.plan import VALIDATION, ComparisonPlan, Fingerprints, differences
from psgd.config.comparison_file import EXAMPLES, read_comparison
from psgd.config.document import parse_yaml, to_yaml
from psgd.core import version
from psgd.core.errors import DataError, UsageError

ARMS = {
    "sync": {"strategy.name": "gradient-averaging"},
    "average": {"strategy.name": "parameter-averaging", "strategy.period": 50},
    "weighted": {"strategy.name": "weighted-averaging", "strategy.period": 50},
}
GRID = {"workers": [1, 2], "speeds": {"equal": {}, "uneven": {"cluster.speeds": {"repeat": [1, 0.5]}}}}
RATES = {"optimizer.learning_rate": {"log": [0.01, 1]}}

SQUARED, HUBER = {"model.loss": "squared-error"}, {"model.loss": "huber"}


@pytest.fixture
def plan(tmp_path):
    """A function that makes the plan of a comparison."""

    def make(fingerprint: str = "data", **sections: Any) -> ComparisonPlan:
        path = tmp_path / "comparison.yaml"
        path.write_text(to_yaml({"arms": ARMS, **sections}))
        return ComparisonPlan(read_comparison(str(path)), lambda settings: fingerprint)

    return make


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


@pytest.mark.parametrize(
    ("sections", "words"),
    [
        ({"arms": {}}, "arms is {}"),
        ({"arms": ["a"]}, 'arms is ["a"]; it must be a mapping of names to settings, such as {adam: {opt'),
        ({"grid": [1]}, "grid is [1]; it must be a mapping such as {workers: [1, 2, 4]}"),
        ({"exclude": 3}, "exclude is 3; it must be a list of mappings such as [{workers: 1}]"),
        ({"tune": 3}, "tune is 3; it must be a mapping such as {optimizer.learning_rate: {log: "),
        ({"budget": 3}, "budget is 3; it must be a mapping such as {epochs: 10}"),
        ({"target": 0.9}, "target is 0.9; it must be a mapping such as {metric: validation_accuracy, value: auto}"),
        ({"price": "fast"}, 'price is "fast"; it must be a mapping such as {here: measured}'),
        ({"sed": [1]}, "sed is not a setting of a comparison; did you mean seeds?"),
        (
            {"arms": {"a/b": {}}},
            'arms has the name "a/b"; a name begins with a letter, a digit or _, and',
        ),
        ({"price": {"1 Gbit/s": {"hosts": 2, "network": "1Gbit,1ms"}}}, 'price has the name "1 Gbit/s"; a name begins'),
        ({"grid": {"speeds": {"50 %": {}}}}, 'grid.speeds has the name "50 %"; a name begins with'),
        ({"arms": {"sync": None}}, "arms.sync is null; it must be a mapping such as {optimizer.name: adam}"),
        ({"tune": {"optimizer.learning_rate": [0.1, 0.2]}}, "tune.space is [0.1, 0.2]; it must be a mapping such as"),
        (
            {"arms": {"a": {}}, "tune": {"strategy.period": {"log": [1, 100]}}},
            "strategy.period is 1.0; it must be a whole number greater than 0, or end; list what tune tries, such as",
        ),
        ({"arms": {"a": {}}, "tune": {"strategy.period": {"values": [1, 2.5, 4]}}}, "strategy.period is 2.5; it must"),
        ({"question": "Who?\nWhen?"}, r'question is "Who?\nWhen?"; it must be text that is not empty, of one line'),
        ({"seeds": 3}, "seeds is 3; it must be a list such as [0, 1, 2]"),
        ({"seeds": [1, 1]}, "seeds is [1, 1]; names something twice"),
        ({"budget": {"epochs": 0}}, "budget.epochs is 0; it must be greater than 0"),
        ({"reference": "c"}, 'reference is "c", which is none of the arms sync, average, weighted'),
        ({"target": {"value": 93}}, "target.value is 93; an accuracy is greater than 0 and at most 1"),
        ({"target": {"value": "high"}}, 'target.value is "high"; it must be a number or auto'),
        ({"grid": {"workers": 5}}, "grid.workers is 5; it must be a list of values"),
        ({"grid": {"workers": []}}, "grid.workers is empty; leave it out"),
        ({"grid": {"workers": [1, 1]}}, "grid.workers is [1, 1], which names something twice"),
        ({"grid": {"arm": [1]}}, "grid.arm: arm is what the arms are called"),
        ({"grid": {"strategy.period": [1, 2]}}, "grid.strategy.period sets strategy.period, as arms.weighted does"),
        ({"grid": {"training.seed": [1]}}, "training.seed is the same for all cells; set seeds of the comparison"),
        ({"grid": {"worker": [1, 2]}}, "worker is not a setting; did you mean workers?"),
        ({"exclude": [{"workers": 3}]}, "exclude[0]: workers is none of arm"),
        ({"exclude": [{}]}, "exclude[0] names no axis"),
        ({"exclude": [{"arm": "c"}]}, 'exclude[0] is {"arm": "c"}, which fits no cell'),
        ({"exclude": [{"arm": arm} for arm in ARMS]}, "exclude leaves no cell of the grid"),
        ({"grid": {"workers": list(range(1, 400))}}, "arms and grid have 1,197 cells; at most 1,000 can be compared"),
        ({"tune": {"rate": {"log": [1, 2]}}}, "tune names 0 settings; name one, such as optimizer.learning_rate"),
        ({"tune": {"optimizer.learning_rate": {"lag": [1, 2]}}}, "tune.space.lag is not a setting"),
        ({"tune": {"optimizer.learning_rate": {"log": [2, 1]}}}, "its first number must be less than the second"),
        ({"tune": {"optimizer.learning_rate": {"log": [0, 1]}}}, "its limits must be greater than 0"),
        ({"tune": {"optimizer.learning_rate": {"points": 3}}}, "needs one of log, linear, values; it has none"),
        ({"tune": {**RATES, "for_each": ["workers"]}}, "tune.for_each: workers is none of arm"),
        ({"tune": {**RATES, "seeds": [0]}}, "tune.seeds and seeds both have 0; a seed that chose a value must not be"),
        ({"tune": {"optimizer.rate": {"log": [1, 2]}}}, "optimizer.rate is not a setting of adam"),
        ({"tune": RATES, "grid": {"optimizer.learning_rate": [1]}}, "which grid.optimizer.learning_rate sets"),
        (
            {"tune": {"training.batch_size_per_worker": {"log": [1, 9]}}},
            "training.batch_size_per_worker is 1.0; it must",
        ),
        ({"arms": {"a": {"training.epochs": 3}}}, "training.epochs is the same for all arms; set budget.epochs"),
        ({"arms": {"a": {"training": {"seed": 3}}}}, "training.seed is the same for all arms; set seeds"),
        (
            {"arms": {"a": {"training.early_stop.patience": 3}}},
            "arms.a: training.early_stop would end some runs before",
        ),
        ({"grid": {"training.early_stop": [{}]}}, "grid.training.early_stop: training.early_stop would end some runs"),
        ({"arms": {"a": {"data.source": "mnist"}}}, "arms.a: data.source would give the arm other data"),
        ({"arms": {"a": {"workers": "auto"}}}, "workers is auto, which depends on the machine; set a number"),
        (
            {"arms": {"a": {}, "b": {"optimizer.learning_rat": 1}}},
            "b: optimizer.learning_rat is not a setting of adam; did",
        ),
        ({"arms": {"a": {"tune": RATES}}}, "arms.a.tune: the comparison tunes nothing"),
        (
            {"arms": {"a": {"tune": {"workers": 1}}}, "tune": RATES},
            "it must be a mapping such as {optimizer.learning_rate",
        ),
        (
            {"arms": {"a": {"tune": {"optimizer.learning_rate": {"values": [1, 2]}}}}, "tune": RATES},
            "arms.a.tune.optimizer.learning_rate has 2 values, and tune 5; all arms must be tuned by as many",
        ),
        (
            {"arms": {"a": {"tune": {"optimizer.learning_rate": {"points": "two"}}}}, "tune": RATES},
            'arms.a.tune.optimizer.learning_rate.points is "two"',
        ),
        ({"arms": {"a": {"tune": RATES}}, "tune": {**RATES, "for_each": []}}, "tune.for_each leaves out arm"),
        ({"price": {"x": "mesured"}}, 'price.x is "mesured"; it must be measured, or a mapping such as {hosts: 4'),
        ({"price": {"x": {"host": 2}}}, "price.x.host is not a setting of a comparison; did you mean hosts?"),
        ({"price": {"x": {"hosts": 2, "network": "fast"}}}, "price x: network is 'fast'; give bandwidth and one-way"),
        (
            {"price": {"x": {"hosts": 2, "workers_per_host": 1, "network": "1Gbit,1ms"}}},
            "price x: hosts is 2: 4 workers, 1 a host, need 4",
        ),
        (
            {"price": {"x": {"hosts": 2}}},
            "price.x.hosts is 2, but there is no network between them; give bandwidth and one-way latency, such as "
            'network: "1Gbit,0.1ms"',
        ),
        (
            {"price": {"x": {"network": "1Gbit,1ms"}}},
            'price.x.network is "1Gbit,1ms", but hosts is 1; set hosts, or leave network out',
        ),
        ({"grid": {"s": {"s": {"cluster.speeds": {"repeat": [1, 5]}}}}}, "cluster.speeds is [1, 5, 1, 5]; it must be"),
        ({"grid": {"s": {"s": {"cluster.speeds": [1, 0.5]}}}}, "cluster.speeds names 2 speeds, but workers is 4"),
        ({"base": "none.yaml"}, "none.yaml: there is neither such a file"),
        (
            {"arms": {"a": {}}, "grid": {"data": {"line": {"data.source": "linear", "model.loss": "squared-error"}}}},
            "target.metric is validation_accuracy, but there are no classes; set validation_loss",
        ),
        (
            {"arms": {"a": SQUARED, "b": SQUARED, "c": HUBER}, "target": {"metric": "validation_loss", "value": 0.1}},
            "target.metric is validation_loss, but different losses cannot be compared (squared-error of a; huber with "
            "the threshold 1 of c); set validation_accuracy, where there are classes, or one loss for all",
        ),
        (
            {"arms": {"a": HUBER}, "target": {"metric": "validation_loss"}, "grid": {"model.huber_threshold": [1, 2]}},
            "(huber with the threshold 1 of a, model.huber_threshold 1; huber with the threshold 2 of a, model.huber_",
        ),
        (
            {
                "arms": {"a": HUBER},
                "target": {"metric": "validation_loss"},
                "tune": {"model.huber_threshold": {"values": [1, 2]}},
            },
            "different losses cannot be compared (huber with the threshold 1 of a; huber with the threshold 2 of a)",
        ),
    ],
)
def test_a_wrong_config_is_one_line_with_the_value_and_what_to_do(plan, sections, words):
    with pytest.raises(UsageError) as caught:
        plan(**sections)
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


def test_different_losses_are_compared_by_accuracy_and_one_by_itself(plan):
    assert plan(arms={"a": SQUARED, "b": HUBER}).cells
    thresholds = {"model.huber_threshold": [1, 2]}  # which change no other loss
    assert plan(arms={"a": SQUARED}, grid=thresholds, target={"metric": "validation_loss"}).cells


@pytest.mark.parametrize("section", EXAMPLES)
def test_the_examples_of_messages_are_valid(plan, section):
    more = {"grid": {"workers": [1, 2]}} if section == "exclude" else {}
    assert plan(**{section: parse_yaml(EXAMPLES[section].partition("such as ")[2])}, **more).cells


def test_a_problem_of_several_cells_is_one_line_that_says_where(plan):
    wrong = {"optimizer.momentum": 0.9}
    with pytest.raises(UsageError) as caught:
        plan(arms={"a": {}, "b": wrong}, grid={"workers": [1, 2]})
    assert str(caught.value).startswith("b: optimizer.momentum")
    with pytest.raises(UsageError) as caught:
        plan(arms={"a": {}, "b": {}}, grid={"workers": [1, 2], "m": {"without": {}, "with": wrong}})
    assert str(caught.value).startswith("a, workers 1, m with, and 3 more: optimizer.momentum")
    assert "\n" not in str(caught.value)
