"""Results of a comparison against earlier ones: what has become slower, and what cannot be compared."""

import re
from typing import Any

import pytest
from compare_results import results as made_results
from comparing import cell

from psgd.compare.analysis.regression import Regressed, find_regressions, parse_share
from psgd.core.errors import UsageError


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
        find_regressions(after, before, 0.1)
    head, *lines = str(caught.value).splitlines()
    assert head == "slower by more than 10%:"
    assert all("(+20.0%)" in line for line in lines if "price here" in line)
    assert any(line.startswith("sync, workers 1, speeds equal, price here: ") for line in lines)
    assert Regressed.code == 6
    assert all("(+20.0%)" in line for line in find_regressions(after, before, 0.25) if "price here" in line)
    assert all("(-" in line or "+0.0%" in line for line in find_regressions(before, after, 0.0))


def test_an_arm_that_fails_now_or_misses_the_target_is_a_regression(faster):
    before, after = faster(1.0)
    broken, missed = cell(after, "sync", workers="1"), cell(after, "sync", workers="2", speeds="equal")
    broken.update(error="no memory", runs=[], costs=None)
    for run in missed["runs"]:
        run["series"]["validation_accuracy"] = [0.1 for _ in run["series"]["validation_accuracy"]]
    with pytest.raises(Regressed) as caught:
        find_regressions(after, before, 0.1)
    text = str(caught.value)
    assert "sync, workers 1, speeds equal, price here: " in text
    assert "s before, failed now" in text
    assert "s before, reached by 0 of 3 now" in text
    assert "average, workers 1" not in text


def test_both_are_judged_by_the_earlier_target(faster):
    before, after = faster(1.0)
    after["target"]["value"] = 0.5  # an automatic target that has changed: easier to reach
    assert all("(+0.0%)" in line for line in find_regressions(after, before, 0.0))
    after["machine"]["cpu"] = "another"
    assert find_regressions(after, before, 0.0)[-1].startswith(
        "The earlier results are of another machine: AMD EPYC 9R14, not ano"
    )
    after["target"]["metric"] = "validation_loss"
    with pytest.raises(UsageError, match="the target is a validation_loss and was a validation_accuracy before"):
        find_regressions(after, before, 0.0)


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
        find_regressions(after, before, 0.1)
    after[section] = {**before[section], "another": value}
    assert find_regressions(after, before, 0.1)


def test_what_a_price_costs_does_not_change_its_times(faster):
    before, after = faster(1.0)
    after["prices"] = {**after["prices"], "slow": {**after["prices"]["slow"], "dollars_per_host_hour": 9.0}}
    assert find_regressions(after, before, 0.1)


def test_results_with_nothing_in_common_cannot_be_compared(faster):
    before, after = faster(1.0)
    for each in before["cells"]:
        each["arm"] = f"old {each['arm']}"
    before["arms"], before["reference"] = [f"old {arm}" for arm in before["arms"]], "old sync"
    with pytest.raises(UsageError, match="nothing can be compared"):
        find_regressions(after, before, 0.1)


def test_shares():
    assert [parse_share(text) for text in ("10%", "0.1", "0", "250%")] == [0.1, 0.1, 0, 2.5]
    for wrong in ("ten", "-1%", "nan", "", "10", "1"):  # the last two may be meant as percentages
        with pytest.raises(UsageError, match="give a percentage such as 10%"):
            parse_share(wrong)
