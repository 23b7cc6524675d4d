"""What other networks would change: who wins where, where two arms break even, and the best period; by hand, and never
surer than the tables."""

import math

import numpy as np
import pytest

from psgd.compare import numbers
from psgd.compare.analysis.answer import answer
from psgd.compare.analysis.arm_times import BANDWIDTHS, LATENCIES
from psgd.compare.analysis.best_period import best_period
from psgd.compare.analysis.break_even import break_even
from psgd.compare.analysis.diagram import diagram, left_out
from psgd.compare.analysis.tables import analyse
from psgd.compare.modelled.network import MPICH, PAYLOAD

FREE = {"leaf": 0.0, "apply": 0.0, "rest": 0.0, "barrier": 0.0, "step": 1e-3}
SURE = 0.0513 + 0.0125  # of a log ratio: the margin of 5 %, and the least interval of three seeds


def a_cell(arm, *rounds, period=10, workers=2, **more):
    """An arm whose runs, one a seed, reach the target in the round named, the one before being evaluated too."""
    runs = [
        {
            "seed": seed,
            "sha256": f"{arm} {seed}",
            "status": "done",
            "rounds": last,
            "worker_steps": [(period or 1) * last],
            "series": {"examples": [last - 1, last], "rounds": [last - 1, last], "test_loss": [1, 0.1]},
        }
        for seed, last in enumerate(rounds)
    ]
    return {
        "arm": arm,
        "at": {"workers": str(workers)},
        "strategy": "parameter-averaging" if period else "gradient-averaging",
        "workers": workers,
        "speeds": [1.0] * workers,
        "period": period,
        "batch": 1,
        "examples_per_epoch": 100,
        "message_bytes": 10**6,
        "comparable": True,
        "why_not": "",
        "error": None,
        "settings": {},
        "tuned": {},
        "costs": FREE,
        "runs": runs,
        **more,
    }


def results(*cells, **more):
    """If not given, `sync` needs 100 rounds of 1 step, `average` 30 of 10, all steps of 1 ms: 100 against 300 ms of
    computing, and 200 against 60 messages of 1 MB."""
    cells = cells or (a_cell("sync", 100, 100, 100, period=None), a_cell("average", 30, 30, 30))
    return {
        "cells": list(cells),
        "arms": list(dict.fromkeys(cell["arm"] for cell in cells)),
        "reference": "sync",
        "base": {},
        "target": {"metric": "test_loss", "value": 0.5},
        "budget": {"epochs": 1, "evaluate_every": 1},
        "prices": {"here": "measured", "slow": {"hosts": 2, "network": "100Mbit,0us"}},
        **more,
    }


def log_ratio(bandwidth):
    """Return the logarithm of the time of `average` divided by that of `sync`, without latency. A round has 2 messages,
    and reports of 80 bytes in both directions; the first of them takes one overhead, the messages another each."""
    round = (16e6 + 640) / (bandwidth * PAYLOAD) + 2 * MPICH.overhead
    return math.log((30 * (10e-3 + round)) / (100 * (1e-3 + round)))


def test_break_even_by_hand():
    """140 messages more against 0.2 s of computing: 1 MB in 0.2 s / 140 (less the 70 exchanges of reports), which is
    5.6 Gbit/s of payload, 5.9 of Ethernet, less what the library's overhead takes. An arm wins at those of the
    bandwidths tried at which the ratio is beyond the margin and the interval."""
    by_bandwidth, by_latency = sorted(break_even(results()), key=lambda sentence: "at 0 s" not in sentence)
    exact = 140 * (8e6 + 70 / 140 * 640) / (0.2 - 140 * MPICH.overhead) / PAYLOAD
    assert log_ratio(exact) == pytest.approx(0, abs=1e-9)
    average = max(b for b in BANDWIDTHS if log_ratio(b) < -SURE)
    sync = min(b for b in BANDWIDTHS if log_ratio(b) > SURE)
    assert by_bandwidth == (
        f"workers 2, price slow: at 0 s, average wins up to {numbers.bandwidth(average, 2)} and sync wins from "
        f"{numbers.bandwidth(sync, 2)} on; elsewhere neither of sync and average is shown to be faster (equal median "
        f"times at {numbers.bandwidth(exact, 2)})"
    )
    assert by_latency == ("workers 2, price slow: at 100 Mbit/s, average wins over sync anywhere from 10 µs to 100 ms")


def test_an_arm_that_wins_on_every_network_has_one_sentence():
    """Average computes less too: whatever the network, it is ahead."""
    found = results()
    sync, average = found["cells"]
    sync["costs"], average["costs"] = {**FREE, "step": 1.0}, {**FREE, "step": 0.001}
    assert break_even(found) == [
        "workers 2, price slow: average wins over sync anywhere from 1.0 Mbit/s to 100 Gbit/s at 0 s and from 10 µs to "
        "100 ms at 100 Mbit/s"
    ]


def test_with_one_seed_nothing_is_shown_and_equal_medians_are_said():
    """One pair is undecided, in the tables too."""
    (sentence,) = break_even(results(a_cell("sync", 100, period=None), a_cell("average", 30)))
    start = "workers 2, price slow: neither of sync and average is shown to be faster anywhere from 1.0 Mbit/s to 100 "
    assert sentence.startswith(start + "Gbit/s at 0 s (equal median times at 6.2 Gbit/s)")
    assert sentence.endswith(") and from 10 µs to 100 ms at 100 Mbit/s")
    assert not np.any(diagram(results(a_cell("sync", 100, period=None), a_cell("average", 30)))["won"])


def test_arms_of_equal_times_are_equivalent():
    """They share the first place: the first in the config is shown, and the third is beaten by both."""
    twins = a_cell("sync", 30, 30, 30), a_cell("average", 30, 30, 30)
    (sentence,) = break_even(results(*twins))
    assert sentence.startswith("workers 2, price slow: sync and average are equivalent anywhere from 1.0 Mbit/s to ")
    found = diagram(results(*twins, a_cell("third", 60, 60, 60)))
    assert {arm for row in found["first"] for arm in row} == {0}
    assert np.all(found["won"])


def test_two_arms_that_are_close_have_not_won_although_a_third_is_beaten():
    """3 % are less than the margin."""
    found = diagram(
        results(a_cell("sync", 100, 100, 100), a_cell("average", 103, 103, 103), a_cell("third", 200, 200, 200))
    )
    assert {arm for row in found["first"] for arm in row} == {0}
    assert not np.any(found["won"])


@pytest.mark.parametrize("noise", [0, 10, 40])
@pytest.mark.parametrize("bandwidth", [10**9, 10**10, 10**11])
@pytest.mark.parametrize("latency", [10, 1000])
def test_the_map_and_the_break_even_points_say_what_the_table_says(noise, bandwidth, latency):
    """At a network of the map, and with two arms."""
    cells = a_cell("sync", 100 - noise, 100, 100 + noise, period=None), a_cell("average", 30, 30, 30)
    found = results(*cells, prices={"x": {"hosts": 2, "network": f"{bandwidth // 10**6}Mbit,{latency}us"}})
    (table,) = analyse(found)["tables"]
    verdict = next(row["ratio"]["verdict"] for row in table["rows"] if row["ratio"])
    made = diagram(found)
    i, j = (
        int(np.argmin(np.abs(np.log(np.array(v) / at))))
        for v, at in ((LATENCIES, latency / 1e6), (BANDWIDTHS, bandwidth))
    )
    assert made["won"][i][j] == (verdict in ("faster", "slower"))
    if verdict in ("faster", "slower"):
        assert made["first"][i][j] == ("slower", "faster").index(verdict)
    sentence = next(s for s in break_even(found) if f"at {numbers.seconds(latency / 1e6, 2)}" in s)
    only = {"faster": "average wins", "slower": "sync wins"}.get(verdict, "shown to be faster")
    assert only in sentence


def test_more_noise_leaves_more_undecided():
    def undecided(noise):
        cells = a_cell("sync", 100 - noise, 100, 100 + noise, period=None), a_cell("average", 30, 30, 30)
        return np.size(found := diagram(results(*cells))["won"]) - np.sum(found)

    counts = [undecided(noise) for noise in (0, 10, 40)]
    assert 0 < counts[0] < counts[1] < counts[2]


def test_the_answer_has_the_break_even_points_of_a_single_place_and_says_once_what_is_the_same_everywhere():
    found = {
        **results(prices={name: {"hosts": 2, "network": "100Mbit,0us"} for name in ("near", "far")}),
        "axes": {},
        "cells": [],
    }
    points = ["workers 2, price near: a", "workers 2, price near: b", "workers 2, price far: a"]
    one = [{"at": {"workers": "2"}, "price": name, "rows": []} for name in ("near", "far")]
    said = answer(found, {"tables": one, "break_even": points, "flips": [], "identities": []})
    assert said[-2:] == ["Prices near and far: a.", "Price near: b."]
    two = [*one, {**one[0], "at": {"workers": "4"}}]
    assert "Price near: b." not in answer(found, {"tables": two, "break_even": points, "flips": [], "identities": []})


def test_the_diagram_has_the_winner_on_each_network():
    found = diagram(results())
    first, won = np.array(found["first"]), np.array(found["won"])
    assert first.shape == won.shape == (len(found["latencies"]), len(found["bandwidths"]))
    assert first[0, 0] == 1  # slow: few messages
    assert first[0, -1] == 0  # fast: less computing
    assert first[-1].tolist() == [1] * len(found["bandwidths"])  # 300 trips more of 0.1 s
    assert (np.diff(first, axis=1) <= 0).all()
    assert won[0, 0]
    assert won[0, -1]


def test_the_diagram_is_of_the_last_place_with_most_workers():
    cells = [{**cell, "at": {"speeds": label}} for label in ("equal", "uneven") for cell in results()["cells"]]
    alone = [{**cell, "at": {"speeds": "one"}, "workers": 1, "speeds": [1.0]} for cell in results()["cells"]]
    assert diagram(results(*cells, *alone))["at"] == {"speeds": "uneven"}
    assert diagram(results(*alone)) is None


def test_a_map_that_is_elsewhere_or_lacks_arms_says_so():
    """Most workers are 4; there, one arm after the other cannot be compared."""

    def made(*cells):
        few = [a_cell(arm, 30, 30, 30) for arm in ("sync", "average", "third")]
        return results(*few, *cells)

    apart, failed = {"comparable": False, "why_not": "at the edge"}, {"error": "no memory", "costs": None}
    many = [a_cell(arm, 30, 30, 30, workers=4) for arm in ("sync", "average", "third")]
    whole = made(*many)
    assert (diagram(whole)["at"], left_out(whole)) == ({"workers": "4"}, [])
    two = made(*many[:2], {**many[2], **apart})
    assert diagram(two)["at"] == {"workers": "4"}
    assert left_out(two) == ["The map of networks leaves out arms: third is not comparable."]
    one = made(many[0], {**many[1], **failed}, {**many[2], **apart})
    assert diagram(one)["at"] == {"workers": "2"}
    assert left_out(one) == [
        "The map of networks is of workers 2 and not of workers 4: there, average failed, third is not comparable."
    ]
    both = results(many[0], {**many[1], **failed}, a_cell("third", 30, 30, 30, **apart), a_cell("sync", 30, 30, 30))
    assert diagram(both) is None
    assert left_out(both) == ["There is no map of networks: at workers 4, average failed."]
    assert left_out(results(a_cell("sync", 30, workers=1), a_cell("average", 30, workers=1, **apart))) == []


def test_no_winner_where_nobody_reaches_the_target():
    missed = results(target={"metric": "test_loss", "value": 0.0})
    assert {each for row in diagram(missed)["first"] for each in row} == {None}
    assert not np.any(diagram(missed)["won"])
    assert break_even(missed) == []


def test_the_best_period_of_a_network():
    """Periods 1, 10: 200 rounds of 1 step, 30 of 10. On a slow network rounds count, on none steps do."""
    cells = *results()["cells"], a_cell("often", 200, 200, 200, period=1)
    prices = {"slow": {"hosts": 2, "network": "1Mbit,0us"}, "one": {"hosts": 1}}
    slow, one = best_period(results(*cells, prices=prices))
    assert slow.startswith("workers 2, price slow: the best period of parameter-averaging is 10, ")
    assert slow.endswith("; 1 takes 6.66 times as long")
    assert one == (
        "workers 2, price one: the best period of parameter-averaging is 1, 200 ms to the target; "
        "10 takes 1.50 times as long"
    )


def test_periods_of_two_outer_optimizers_are_told_apart():
    fast, slow = ({"learning_rate": rate, "momentum": 0.9, "nesterov": True} for rate in (1.0, 0.7))
    arms = [("slow", slow, 10), ("slow-1", slow, 1), ("fast", fast, 10), ("fast-1", fast, 1)]
    cells = [
        a_cell(arm, 200, 210, period=p, settings={"strategy.outer": o, "strategy.period": p}) for arm, o, p in arms
    ]
    said = best_period(results(*cells, prices={"one": {"hosts": 1}}))
    names = [sentence.split("the best period of ")[1].split(" is ")[0] for sentence in said]
    assert names == [f"parameter-averaging with outer rate {rate} and Nesterov's momentum 0.9" for rate in ("0.7", "1")]


def test_those_not_shown_to_be_slower_than_the_first_are_its_rivals():
    cells = a_cell("first", 30, 30, 30), a_cell("near", 31, 31, 31), a_cell("far", 90, 90, 90)
    cells += (a_cell("broken", 10, 10, 10, error="no memory"), a_cell("late", 30, 300, 300))
    (table,) = analyse(results(*cells, reference="far", arms=[c["arm"] for c in cells], prices={"one": {"hosts": 1}}))[
        "tables"
    ]
    assert table["rivals"] == ["near", "late"]


def test_a_period_that_is_not_shown_to_be_worse_has_its_verdict():
    cells = *results()["cells"], a_cell("often", 250, 290, 330, period=1)
    (one,) = best_period(results(*cells, prices={"one": {"hosts": 1}}))
    assert one.endswith(
        "the best period of parameter-averaging is 1, 290 ms to the target; 10 takes 1.03 times as long (undecided)"
    )
