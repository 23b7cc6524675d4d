"""What the clock and the figures take for the work of a run is what the run did."""

import pytest

import psgd
from psgd.compare.finished_run import read_entry
from psgd.compare.modelled.clock import Price, times
from psgd.compare.modelled.work import combinations, sent

UNEVEN = {"workers": 2, "speeds": [1.0, 0.5], "period": 3}  # steps (3, 1), (3, 2), (3, 1), ...


def a_cell(strategy="weighted-averaging", candidates=1, **more):
    costs = {
        "step": 0.0,
        "leaf": 1.0,
        "apply": 2.0,
        "rest": 0.0,
        "barrier": 0.0,
        "candidates": candidates,
        "score": 0.0,
    }
    return {**UNEVEN, "strategy": strategy, "message_bytes": 100, "costs": costs, **more}


def a_run(*rounds, **series):
    return {"rounds": rounds[-1], "worker_steps": [3 * rounds[-1]], "series": {"rounds": list(rounds), **series}}


def test_plain_averaging_sends_a_contribution_a_round():
    for strategy, period in (("parameter-averaging", 3), ("gradient-averaging", None), ("weighted-averaging", 3)):
        assert sent(a_cell(strategy, period=period), a_run(0, 2, 5)).tolist() == [0, 200, 500]


def test_the_only_worker_sends_nothing():
    alone = a_cell(workers=1, speeds=[1.0], candidates=7)
    assert combinations(alone, a_run(0, 5)).tolist() == [0, 5]
    assert sent(alone, a_run(0, 5)).tolist() == [0, 0]
    assert sent(alone, a_run(0, 5, combinations=[0, 5])).tolist() == [0, 0]


def test_combinations_are_those_that_the_run_counted():
    """Seven candidates take 7 or 8 combinations a round."""
    chosen, run = a_cell(candidates=7), a_run(0, 2, 5, combinations=[0, 15, 37])
    assert combinations(chosen, run).tolist() == [0, 15, 37]
    assert sent(chosen, run).tolist() == [0, 1500, 3700]


def test_where_none_are_counted_there_are_as_many_as_there_can_be():
    """8 in a round with unequal steps; period 3 and speed 1/3 in place of 1/2: steps (3, 1) always."""
    assert combinations(a_cell(candidates=7), a_run(0, 2, 5)).tolist() == [0, 16, 40]
    assert combinations(a_cell(candidates=7, speeds=[1.0, 1.0]), a_run(0, 2, 5)).tolist() == [0, 2, 5]
    assert combinations({**a_cell(), "costs": None}, a_run(0, 5)).tolist() == [0, 5]


def test_the_clock_prices_the_combinations_that_the_run_counted():
    """Each takes (2 x 1 + 2) / 2 = 2 s of two processes."""
    assert times(a_cell(candidates=7), a_run(0, 5, combinations=[0, 37]), Price()).seconds.tolist() == [0, 37 * 2]
    assert times(a_cell(candidates=7), a_run(0, 5), Price()).seconds.tolist() == [0, 40 * 2]


@pytest.mark.parametrize(
    ("name", "workers", "speeds"),
    [
        ("gradient-averaging", 2, None),
        ("parameter-averaging", 2, None),
        ("weighted-averaging", 1, None),
        ("weighted-averaging", 2, [1, 1]),
        ("weighted-averaging", 2, [1, 0.5]),
        ("weighted-averaging", 3, [1, 0.5, 0.29]),
    ],
)
def test_what_a_comparison_counts_is_what_the_run_sent(tmp_path, name, workers, speeds):
    """From the files of a run. Without the count of the run, it is never less, and one a round too much at most."""
    run = psgd.train(
        "digits",
        output=tmp_path / "run",
        progress=False,
        group="serial",
        workers=workers,
        model={"hidden": [7]},
        cluster={"speeds": speeds},
        strategy={"name": name} if name == "gradient-averaging" else {"name": name, "period": 7},
        training={"epochs": 2, "seed": 1},
    )
    record, summary = read_entry(1, tmp_path / "run", None, False), run.summary
    contribution = 4 * (64 * 7 + 7 + 7 * 10 + 10)
    cell = a_cell(name, workers=workers, speeds=speeds or [1.0] * workers, message_bytes=contribution)
    cell = {**cell, "period": None if name == "gradient-averaging" else 7}
    counted = sent(cell, record)
    assert len(counted) == len(record["series"]["examples"])
    assert counted[-1] == summary["bytes_sent_per_worker"]
    assert (counted[-1] == 0) == (workers == 1)
    cell["costs"]["candidates"] = 7
    del record["series"]["combinations"]
    most = sent(cell, record)[-1]
    assert 0 <= most - counted[-1] <= summary["rounds"] * contribution
    if speeds in (None, [1, 1]):
        assert most == counted[-1]
        assert most in (0, summary["rounds"] * contribution)
    else:
        assert counted[-1] > 6 * summary["rounds"] * contribution
