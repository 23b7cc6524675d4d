"""The modelled clock: seconds computed by hand, identities, and the costs that it is given."""

import itertools

import numpy as np
import pytest
from modelled_networks import NO_OVERHEAD, network
from processes import python

from psgd.compare.costs import measure, measure_choice, measure_contention
from psgd.compare.modelled.clock import Price, as_price, hosts_used, spent, times
from psgd.compare.modelled.network import Link, parse_network
from psgd.config.resolve import resolve
from psgd.core.cores import cores
from psgd.core.errors import UsageError
from psgd.data.sources.load import load_data
from psgd.strategy.plans import PacedPlan, exact_speeds

COSTS = {"step": 8.0, "leaf": 1.0, "apply": 2.0, "rest": 0.5, "barrier": 0.25}
NOT_MODELLED = 1e-9  # of seconds: rounding


def a_cell(strategy="parameter-averaging", speeds=(1.0, 1.0), period=10, size=1000, **costs):
    return {
        "strategy": strategy,
        "workers": len(speeds),
        "speeds": list(speeds),
        "period": None if strategy == "gradient-averaging" else period,
        "message_bytes": size,
        "costs": {**COSTS, **costs},
    }


def a_run(*rounds, steps=10, **series):
    return {"rounds": rounds[-1], "worker_steps": [steps * rounds[-1]], "series": {"rounds": list(rounds), **series}}


def seconds(cell, run, price, library=NO_OVERHEAD):
    parts = times(cell, run, price, library)
    assert parts.seconds == pytest.approx(parts.computing + parts.waiting + parts.moving, rel=1e-12)
    return [pytest.approx(each, rel=NOT_MODELLED) for each in parts.seconds]


def test_one_worker_by_hand():
    """10 steps of 8, apply 2, the loop 0.5: 82.5 a round. Its contribution is its own sum."""
    assert seconds(a_cell(speeds=[1.0]), a_run(0, 1, 4), Price()) == [0, 82.5, 330]


def test_two_workers_of_one_host_by_hand():
    """8 + (2 x 1 + 2) / 2 + 0.5 + two barriers of 0.25 = 11 a round."""
    cell = a_cell("gradient-averaging")
    assert seconds(cell, a_run(0, 2), Price()) == [0, 2 * (8 + 2 + 0.5 + 0.5)]
    parts = times(cell, a_run(0, 2), Price())
    assert (parts.computing[1], parts.waiting[1], parts.moving[1]) == (21, 0, 1)


def test_two_hosts_by_hand():
    """Two messages of 1 s, one after the other, and reports of 0.16 s: each worker gives 80 bytes and gets 80.
    Computing: 8 + reducing the own contribution, then both sums, 3 x 1 + apply 2 + 0.5."""
    cell, price = a_cell("gradient-averaging"), Price(hosts=2, network=network(1000, 0))
    assert seconds(cell, a_run(0, 1), price) == [0, 8 + 3 + 2 + 0.5 + 2 * 1 + 0.08]


def test_latency_by_hand():
    """Short messages: there and back, and the next report travels with the second. Long ones are agreed upon before:
    one trip of the reports, four of each message."""
    short, long = a_cell("gradient-averaging", size=8), a_cell("gradient-averaging", size=10**7)
    near, far = (Price(hosts=2, network=network(1e30, latency)) for latency in (0.0, 1.0))
    run = a_run(0, 1)
    for cell, trips in ((short, 2), (long, 1 + 2 * 4)):
        apart = times(cell, run, far).moving - times(cell, run, near).moving
        assert apart == pytest.approx([0, trips])


def test_two_hosts_of_two_workers_by_hand():
    """Workers 0, 1 and 2, 3: one subtree each. (2 own + 2 sums + apply 2) / 2 processes; three barriers and that of the
    reports; the card carries 2 x 80 bytes to each of two processes."""
    cell = a_cell("gradient-averaging", speeds=[1.0] * 4)
    computing, barriers = 8 + (2 + 2 + 2) / 2 + 0.5, 4 * 0.25
    price = Price(hosts=2, network=network(1000))
    assert seconds(cell, a_run(0, 1), price) == [0, computing + barriers + 2 * 1 + 2 * 2 * 80 / 1000]


def test_a_process_is_slowed_down_by_the_others_of_its_host():
    """Each further process takes a tenth more."""
    cell, crowded = a_cell(speeds=[1.0] * 3), a_cell(speeds=[1.0] * 3, contention=0.1)
    alone, together = times(cell, a_run(5), Price()), times(crowded, a_run(5), Price())
    assert together.seconds == pytest.approx(1.2 * alone.seconds)
    apart = Price(hosts=3)
    assert times(crowded, a_run(5), apart).seconds == times(cell, a_run(5), apart).seconds


def test_machine_speed_scales_computing_alone():
    cell, run = a_cell(speeds=[1.0, 0.5], barrier=0.0), a_run(0, 3)
    one, two = (times(cell, run, Price(2, network=network(1e3), machine_speed=speed)) for speed in (1, 2))
    assert two.computing == pytest.approx(one.computing / 2)
    assert two.waiting == pytest.approx(one.waiting / 2)
    assert two.moving.tolist() == one.moving.tolist()


@pytest.mark.parametrize("strategy", ["gradient-averaging", "parameter-averaging"])
def test_those_that_take_equal_steps_wait_for_the_slowest(strategy):
    """Speeds 1 and 1/4: the slow one takes 4 steps' time, the mean is 2.5, 1.5 is waiting."""
    parts = times(a_cell(strategy, [1.0, 0.25], leaf=0, apply=0, rest=0, barrier=0), a_run(1), Price())
    period = 1 if strategy == "gradient-averaging" else 10
    assert (parts.computing[0], parts.waiting[0]) == (period * 2.5 * 8, period * 1.5 * 8)


@pytest.mark.parametrize(
    ("speeds", "period"), [([1, 0.5], 3), ([1, 0.29, 0.7], 7), ([1, 0.1, 1 / 3], 1), ([1, 0.25], 8)]
)
def test_weighted_averaging_waits_for_rounding_alone(speeds, period):
    """The critical steps are those of the plan, round by round, in exact fractions."""
    plan = PacedPlan(period, exact_speeds(speeds, len(speeds)))
    by_round = [max(n / s for n, s in zip(plan.steps(r), plan.speeds, strict=True)) for r in range(40)]
    expected = [8 * float(total) for total in (0, *itertools.accumulate(by_round))]
    cell = a_cell("weighted-averaging", speeds, period, leaf=0, apply=0, rest=0, barrier=0)
    parts = times(cell, a_run(*range(41)), Price())
    assert parts.seconds == pytest.approx(expected, rel=1e-12)
    steps = np.mean([n / float(s) for r in range(40) for n, s in zip(plan.steps(r), plan.speeds, strict=True)])
    assert parts.computing[-1] == pytest.approx(8 * 40 * steps)
    if period == 8:
        assert parts.waiting[-1] == 0


def test_an_only_round_has_as_many_steps_as_were_taken():
    cell = a_cell("weighted-averaging", [1.0, 0.5], "end", leaf=0, apply=0, rest=0, barrier=0)
    run = {"rounds": 1, "worker_steps": [301, 150], "series": {"rounds": [0, 1]}}
    assert times(cell, run, Price()).seconds.tolist() == [0, 301 * 8]


def test_candidates_are_combined_and_scored_where_steps_differ():
    """Period 2, speeds 1 and 1/2: steps (2, 1) in each round, so that 3 candidates are tried and one applied again."""
    cell = a_cell("weighted-averaging", [1.0, 0.5], 2, rest=0, barrier=0)
    chosen = {**cell, "costs": {**cell["costs"], "candidates": 3, "score": 10.0}}
    one, three = (times(each, a_run(0, 5), Price()).computing[1] for each in (cell, chosen))
    assert three - one == pytest.approx(5 * 3 * ((2 * 1 + 2) / 2 + 10.0 / 2))
    equal = {**chosen, "speeds": [1.0, 1.0]}
    assert (
        times(equal, a_run(0, 5), Price()).seconds.tolist()
        == times({**equal, "costs": cell["costs"]}, a_run(0, 5), Price()).seconds.tolist()
    )


def test_long_rounds_exchange_reports_every_second():
    """10 steps of 0.25 s are 2.5 s: three exchanges; steps of 8 s are each a segment."""
    far = Price(hosts=2, network=network(1e30, 1.0))
    for step, exchanges in ((0.01, 1), (0.25, 3), (8.0, 10)):
        cell = a_cell(step=step, size=8, barrier=0)
        assert times(cell, a_run(1), far, NO_OVERHEAD).moving == pytest.approx(exchanges + 1)


def test_weighted_averaging_with_equal_speeds_is_parameter_averaging():
    price = Price(hosts=2, network=parse_network("100Mbit,1ms"))
    weighted, uniform = (times(a_cell(s), a_run(0, 5, 9), price) for s in ("weighted-averaging", "parameter-averaging"))
    assert all(a.tolist() == b.tolist() for a, b in zip(weighted, uniform, strict=True))


def test_an_infinitely_fast_network_is_none():
    ideal = Price(hosts=2, network=Link(float("inf"), 0.0))
    cell, run = a_cell(), a_run(0, 5)
    assert times(cell, run, ideal, NO_OVERHEAD).seconds.tolist() == times(cell, run, Price(hosts=2)).seconds.tolist()


def test_prices_are_read_as_results_have_them():
    given = {"hosts": 2, "workers_per_host": None, "network": "100Mbit,1ms", "machine_speed": 2.0}
    assert as_price(given) == Price(2, None, Link(1e8, 1e-3), 2.0)
    assert as_price({}) == Price()
    assert (
        times(a_cell(), a_run(3), given).seconds.tolist() == times(a_cell(), a_run(3), as_price(given)).seconds.tolist()
    )


def test_wrong_prices_are_refused():
    with pytest.raises(UsageError, match="machine_speed is 0"):
        as_price({"machine_speed": 0})
    with pytest.raises(UsageError, match="4 workers, 1 a host, need 4"):
        times(a_cell(speeds=[1.0] * 4), a_run(1), {"hosts": 2, "workers_per_host": 1})


def test_measured_seconds_are_the_median_of_the_repeats():
    run = {**a_run(0, 1), "measured": {"seconds": [[0.0, 3.0], [0.0, 1.0], [0.5, 2.0]]}}
    assert times(a_cell(), run, "measured").seconds.tolist() == [0.0, 2.0]
    assert times(a_cell(), run, "measured").computing is None
    assert times(a_cell(), {**run, "measured": None}, "measured") is None
    assert times({**a_cell(), "costs": None}, run, Price()) is None


def test_money_and_energy_are_of_the_hosts_used():
    cell, price = a_cell(), {"hosts": 4, "dollars_per_host_hour": 3.0, "watts_per_host": 100.0}
    assert hosts_used(cell, price) == 2
    assert spent(cell, price, 1800) == (3.0, 100.0)
    assert spent(cell, Price(hosts=4), 1800) == (None, None)


def test_pricing_imports_no_learner():
    code = (
        "import sys, psgd.compare.modelled.clock, psgd.compare.analysis.findings;"
        "found = [m for m in sys.modules if m.startswith(('psgd.learners', 'psgd.jobs', 'psgd.training', 'psgd.data'))"
        " or m in ('numba', 'scipy', 'pydantic', 'yaml')]; sys.exit(str(found) if found else 0)"
    )
    assert python("-c", code).code == 0


def test_costs_are_measured(monkeypatch):
    monkeypatch.setattr("psgd.jobs.probe.bench.SECONDS", 0.005)
    monkeypatch.setattr("psgd.jobs.probe.bench.TOGETHER", 0.002)
    data = "data.source=synthetic", "data.examples=300", "data.features=20", "model.hidden=[8]"
    uneven = "strategy.name=weighted-averaging", "workers=2", "cluster.speeds=[1,0.5]"
    settings = resolve(None, [*data, *uneven, "optimizer.name=sgd", "optimizer.clip_norm=1"]).settings
    data = load_data(settings)
    costs = {**measure(settings, data), **measure_contention(settings, data), **measure_choice(settings, data)}
    assert ("barrier" in costs) == (cores() > 1)
    assert costs["contention"] >= 0
    assert costs["candidates"] == len({*range(7), "bound"}) - (settings.optimizer.l2 == 0)
    assert costs["gathers"] == 0  # nothing is clipped when parameters are averaged
    assert costs["step"] > 0
    assert costs["score"] > 0
    assert all(each >= 0 for each in costs.values())
