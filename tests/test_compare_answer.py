"""The answer of a comparison: sentences about tables that are made by hand."""

from typing import Any

import pytest
from compare_results import results

from psgd.compare.analysis.answer import answer
from psgd.compare.analysis.findings import findings
from psgd.compare.analysis.tables import same_runs

STRATEGIES = {"sync": "gradient-averaging", "average": "parameter-averaging"}


def row(arm: str, reached: int, median: float | None, **ratio: Any) -> dict[str, Any]:
    """A row of a table about three runs."""
    known = {"low": None, "high": None, "n": 3, "bound": None, "verdict": "undecided", "strength": "indication"}
    return {"arm": arm, "reached": reached, "of": 3, "median": median, "ratio": {**known, **ratio} if ratio else None}


def said(
    *rows: dict[str, Any],
    tables: int = 1,
    strategies: dict[str, str] = STRATEGIES,
    reference: str = "sync",
    hashes: dict[str, str | None] | None = None,
    broken: str | None = None,
    rivals: tuple[str, ...] = (),
) -> list[str]:
    """The answer, with the rows in each of so many tables. `hashes`: of the arms' only runs; `broken`: an arm;
    `rivals`: those not shown to be slower than the first."""
    runs = {
        arm: [{"seed": 0, "sha256": sha256, "status": "done", "series": {"examples": [50, 100]}}]
        for arm, sha256 in (hashes or {}).items()
    }
    prices = [f"p{number}" for number in range(tables)]
    results = {
        "target": {"metric": "validation_accuracy", "value": 0.97},
        "budget": {"epochs": 2.0, "evaluate_every": 0.5},
        "reference": reference,
        "base": {},
        "axes": {},
        "prices": {price: {} for price in prices},
        "cells": [
            {
                "arm": arm,
                "strategy": name,
                "at": {},
                "error": "no memory" if arm == broken else None,
                "comparable": True,
                "speeds": [1.0],
                "period": 5,
                "settings": {},
                "tuned": {},
                "runs": runs.get(arm, []),
            }
            for arm, name in strategies.items()
        ],
    }
    made = [{"at": {}, "price": price, "rows": list(rows), "rivals": list(rivals)} for price in prices]
    return answer(results, {"tables": made, "break_even": [], "flips": [], "identities": []})


SYNC = row("sync", 3, 2.0)


@pytest.mark.parametrize(
    ("first", "second", "words"),
    [
        (
            SYNC,
            row("average", 3, 3.0, ratio=1.5, low=1.4, high=1.6, verdict="slower"),
            "sync (gradient-averaging) reaches the target first, in 2.00 s (3 of 3 runs); average "
            "(parameter-averaging) takes 1.5 times (1.4 to 1.6) as long as sync (slower, an indication from 3 seeds)",
        ),
        (
            SYNC,
            row("average", 3, 1.0, ratio=0.5, low=0.4, high=0.6, verdict="faster", strength="verdict"),
            "average (parameter-averaging) reaches the target first, in 1.00 s (3 of 3 runs); it takes 0.50 times "
            "(0.40 to 0.60) as long as sync (gradient-averaging) (faster, a verdict from 3 seeds)",
        ),
        (
            SYNC,
            row("average", 0, None, ratio=1.2, low=1.1, bound="at least", verdict="slower"),
            "sync (gradient-averaging) reaches the target first, in 2.00 s (3 of 3 runs); average "
            "(parameter-averaging) reached the target in 0 of 3 runs, so it takes at least 1.2 times as long as "
            "sync: only this bound is known (slower, an indication from 3 seeds)",
        ),
        (
            SYNC,
            row("average", 0, None, ratio=0.063, low=0.057, bound="at least"),
            "sync (gradient-averaging) reaches the target first, in 2.00 s (3 of 3 runs); average "
            "(parameter-averaging) reached the target in 0 of 3 runs, sync in 3 of 3 runs, and they cannot be "
            "compared (undecided)",
        ),
        (
            row("sync", 1, None),
            row("average", 3, 1.0, ratio=0.4, high=0.5, bound="at most", verdict="faster"),
            "average (parameter-averaging) reaches the target first, in 1.00 s (3 of 3 runs); it takes at most "
            "0.40 times as long as sync (gradient-averaging), which reached the target in 1 of 3 runs: only this bound "
            "is known (faster, an indication from 3 seeds)",
        ),
        (
            row("sync", 2, 2.0),
            row("average", 1, None, ratio=None),
            "sync (gradient-averaging) reaches the target first, in 2.00 s (2 of 3 runs); average "
            "(parameter-averaging) reached the target in 1 of 3 runs, sync in 2 of 3 runs, and they cannot be "
            "compared (undecided)",
        ),
        (
            row("sync", 1, None),
            row("average", 0, None, ratio=1.0, bound="at least"),
            "no arm reaches the target in more than half of its runs (sync (gradient-averaging) 1 of 3, average "
            "(parameter-averaging) 0 of 3)",
        ),
    ],
)
def test_how_often_the_target_was_reached_is_said_where_only_a_bound_is_known(first, second, words):
    assert said(first, second)[0] == f"Price p0: {words}."


@pytest.mark.parametrize("reached", [0, 3])
def test_what_to_do_where_no_arm_reaches_the_target_is_said(reached):
    rows = row("sync", 1, None), row("average", reached, 1.0 if reached else None)
    advised = [sentence for sentence in said(*rows) if "a lower target.value" in sentence]
    assert len(advised) == (reached == 0)


@pytest.mark.parametrize(
    ("low", "high", "words"),
    [
        (None, None, "1.5 times as long"),
        (1.4, None, "1.5 times (1.4 or more) as"),
        (None, 2, "1.5 times (2.0 or less) as"),
    ],
)
def test_an_interval_that_is_open_has_no_question_mark(low, high, words):
    (sentence,) = said(SYNC, row("average", 3, 3.0, ratio=1.5, low=low, high=high))
    assert words in sentence
    assert "?" not in sentence


@pytest.mark.parametrize("hashes", [("a", "b"), ("a", None), (None, None)])
def test_other_runs_are_not_said_to_be_the_same(hashes):
    rows = SYNC, row("average", 3, 3.0, ratio=1.5)
    (sentence,) = said(*rows, hashes=dict(zip(STRATEGIES, hashes, strict=True)))
    assert sentence.startswith("Price p0: sync (gradient-averaging) reaches the target first")


def test_arms_whose_runs_are_the_same_are_ahead_together():
    """Which of them was measured to be faster says nothing."""
    strategies = {**STRATEGIES, "weighted": "weighted-averaging"}
    hashes = {"sync": "a", "average": "b", "weighted": "b"}
    rows = SYNC, row("average", 3, 1.1, ratio=0.6), row("weighted", 3, 1.0, ratio=0.5)
    first, *_, last = said(*rows, tables=2, strategies=strategies, hashes=hashes)
    assert first == (
        "First to reach a validation accuracy of 0.97, by the median time: average (parameter-averaging) and weighted "
        "(weighted-averaging) together in 2 of 2 grid points and prices."
    )
    assert last.startswith("Price p1: weighted and average, whose runs are the same, reach the target first, in 1.00 s")
    assert "; weighted takes 0.50 times as long as sync" in last


def test_arms_whose_runs_are_the_same_are_not_compared():
    rows = row("sync", 3, 1.0), row("average", 3, 1.0, ratio=1.0, low=0.96, high=1.0, verdict="equivalent")
    (sentence,) = said(*rows, hashes=dict.fromkeys(STRATEGIES, "a"))
    assert sentence.endswith("whose runs are the same, reach the target first, in 1.00 s (3 of 3 runs).")


def test_times_that_other_programs_may_have_lengthened_are_named():
    found = results()
    quiet = answer(found, findings(found))
    assert not any("Other programs" in sentence for sentence in quiet)
    first, second = found["cells"][:2]
    first["costs_idle"], second["costs_idle"] = False, None
    first["runs"][0]["measured"]["idle"] = False
    runs = sum(bool(run["measured"]) for cell in found["cells"] for run in cell["runs"])
    assert findings(found)["answer"] == [
        *quiet,
        "Other programs ran when the costs of sync, workers 1, speeds equal were measured: modelled times may be too "
        "long; once they have ended, remove costs.json and call psgd compare again.",
        f"Other programs ran when 1 of {runs} runs were timed: measured times may be too long; once they have ended, "
        "remove the directory timed and call psgd compare again.",
    ]
    for cell in found["cells"]:
        cell["costs_idle"] = False
        for run in cell["runs"]:
            run["measured"]["idle"] = False
    assert findings(found)["answer"] == [
        *quiet,
        "Other programs ran when costs were measured: modelled times may be too long; once they have ended, remove "
        "costs.json and call psgd compare again.",
        "Other programs ran when the runs were timed: measured times may be too long; once they have ended, remove the "
        "directory timed and call psgd compare again.",
    ]
    first.update(error="it failed", costs=None, costs_idle=None)  # it has no costs that could be named
    assert any("ran when costs were measured" in sentence for sentence in findings(found)["answer"])


def test_cells_that_trained_far_beyond_the_budget_are_named():
    """A round is not cut; one interval between evaluations is nothing special."""
    found = results()
    before = findings(found)["answer"]
    budget = found["budget"]
    for cell, beyond in ((found["cells"][0], budget["evaluate_every"]), (found["cells"][-1], 15.6)):
        for run in cell["runs"]:
            run["epochs"] = budget["epochs"] + beyond
    assert findings(found)["answer"] == [
        *before,
        "Trained beyond the budget of 20 epochs, since a round is not cut: weighted, workers 4, speeds uneven "
        "(35.6 epochs).",
    ]


@pytest.mark.parametrize("contraction", ["holdout", 0.9])
def test_cells_that_choose_on_the_data_that_judge_are_named(contraction):
    """With equal speeds there is nothing to choose."""
    found = results()
    for cell in found["cells"]:
        if cell["strategy"] == "weighted-averaging":
            cell["settings"]["strategy.contraction"] = contraction
    said = [sentence for sentence in findings(found)["answer"] if "holdout" in sentence]
    assert said == [
        "Judged by the validation data on which contraction: holdout chose in each round, which flatters: weighted, "
        "workers 2, speeds uneven; weighted, workers 4, speeds uneven."
    ] * (contraction == "holdout")


def test_what_choosing_a_contraction_costs_is_said():
    found = results()
    for cell in found["cells"]:
        if cell["strategy"] == "weighted-averaging":
            cell["settings"]["strategy.contraction"] = "holdout"
            for run in cell["runs"]:
                run["series"]["combinations"] = [8 * rounds for rounds in run["series"]["rounds"]]
                run["rounds"] = run["series"]["rounds"][-1]
    (sentence,) = [sentence for sentence in findings(found)["answer"] if "holdout" in sentence]
    assert sentence.endswith("up to 8.0 combinations a round, with messages for each; with a number for "
                             "strategy.contraction it is 1.")  # fmt: skip


def test_an_arm_that_is_broken_is_not_ahead():
    rows = SYNC, row("average", 3, 1.0, ratio=0.5)
    (whole,) = said(*rows)
    assert "average (parameter-averaging) reaches" in whole
    sentence, failed = said(*rows, broken="average")
    assert sentence.startswith("Price p0: sync (gradient-averaging) reaches the target first")
    assert failed == "Failed: average."


def test_the_same_bits_evaluated_elsewhere_are_not_the_same_runs():
    """One would seem to reach the target later."""
    runs = [{"seed": 0, "sha256": "a", "series": {"examples": [first, 100]}} for first in (50, 65, 50)]
    cells = [{"runs": [run]} for run in runs]
    assert same_runs(cells[0], cells[2]) == [0]
    assert same_runs(cells[0], cells[1]) == []


def test_arms_with_the_same_time_are_ahead_together():
    """The order of the config does not decide."""
    rows = row("sync", 3, 2.0), row("average", 3, 2.0, ratio=1.0)
    for some, arms in (
        (rows, "sync (gradient-averaging) and average (parameter-averaging)"),
        (rows[::-1], "average (parameter-averaging) and sync (gradient-averaging)"),
    ):
        (sentence,) = said(*some)
        assert sentence.startswith(f"Price p0: {arms}, equally soon, reach the target first, in 2.00 s")


def test_arms_that_the_first_does_not_beat_are_named():
    """Where it is only compared with the reference, a reader would take it for better than all others."""
    strategies = {**STRATEGIES, "a": "a", "b": "b"}
    rows = SYNC, row("average", 3, 1.0, ratio=0.5), row("a", 3, 1.1, ratio=0.55), row("b", 3, 1.2, ratio=0.6)
    (sentence,) = said(*rows, strategies=strategies, rivals=("sync", "a", "b"))
    assert sentence.endswith("as long as sync (gradient-averaging) (undecided); a and b are not shown to be slower.")
    (sentence,) = said(row("sync", 3, 0.9), *rows[1:], strategies=strategies, rivals=("average", "a", "b"))
    assert "shown" not in sentence  # each has its verdict


def test_the_strategy_is_named_at_the_first_mention():
    text = " ".join(said(SYNC, row("average", 3, 3.0, ratio=1.5), tables=2))
    assert text.startswith(
        "First to reach a validation accuracy of 0.97, by the median time: sync (gradient-averaging) in"
    )
    assert [text.count(name) for name in STRATEGIES.values()] == [1, 1]


@pytest.mark.parametrize(
    "strategies",
    [
        {"sync": "parameter-averaging", "average": "parameter-averaging"},  # which tells nothing apart
        {"gradient-averaging": "gradient-averaging", "parameter-averaging": "parameter-averaging"},
    ],
)
def test_a_strategy_that_says_nothing_new_is_not_named(strategies):
    one, other = strategies
    text = " ".join(said(row(one, 3, 2.0), row(other, 3, 3.0, ratio=1.5), strategies=strategies, reference=one))
    assert "averaging)" not in text
