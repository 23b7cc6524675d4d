"""Local steps on a device: jobs on a double of one have the bits of the same jobs without it."""

from collections.abc import Callable

import numpy as np
import pytest
from device_jobs import ALL, MORE, WORKERS, check_equal
from jobs import NAMES, job, strategies, train
from pretend.double import Double, on_double

from psgd.data.sampling.sampler import RowStream
from psgd.group.serial import Serial
from psgd.group.threads import run_threads
from psgd.training.steps.step_budget import StepBudget


@pytest.mark.parametrize("workers", [1, 2, 3, 4, 5])
@pytest.mark.parametrize("name", NAMES)
def test_every_strategy_has_the_same_bits(name, workers, tmp_path):
    check_equal(job(strategies(workers)[name], workers), tmp_path)


@pytest.mark.parametrize("capacity", [1, 4, 1000])
@pytest.mark.parametrize("name", MORE)
def test_every_local_work_has_the_same_bits_however_short_a_segment_must_be(name, capacity):
    one = job(MORE[name], WORKERS, epochs=3.0)
    assert train(on_double(one, capacity), Serial()) == train(one, Serial())


@pytest.mark.parametrize("name", NAMES)
def test_every_process_opens_a_device_of_its_own_and_they_may_be_mixed_with_the_cpu(name):
    one = job(ALL[name], WORKERS)
    expected, opened = train(one, Serial()), []

    def main(transport):
        own = job(ALL[name], WORKERS)
        return train(own if transport.process == 1 else on_double(own, opened=opened), transport)

    assert run_threads(3, 20.0, main) == [expected] * 3
    assert len(opened) == 2


@pytest.mark.parametrize("name", NAMES)
def test_a_process_may_have_no_worker(name):
    expected = train(job(strategies(2)[name], 2), Serial())
    results = run_threads(3, 20.0, lambda t: train(on_double(job(strategies(2)[name], 2)), t))
    assert results == [expected] * 3


@pytest.mark.parametrize("name", ["gradient-averaging, adam", "parameter-averaging, sgd"])
def test_rows_are_drawn_while_the_device_works(name, monkeypatch):
    """But those of the first segment. A copy to memory that a GPU's driver did not allocate, as `get_worker` is, waits
    for the steps before it."""
    calls, block = list[str](), RowStream._block

    def drawn(self: RowStream, number: int) -> np.ndarray:
        if number not in self._blocks:
            calls.append("draw")
        return block(self, number)

    monkeypatch.setattr(RowStream, "_block", drawn)

    def noted(name: str, call: Callable[..., object]) -> Callable[..., object]:
        return lambda *arguments: (calls.append(name), call(*arguments))[1]

    for each in "run", "get_worker", "finish":
        monkeypatch.setattr(Double, each, noted(each, getattr(Double, each)))
    train(on_double(job(ALL[name], WORKERS, epochs=9.0)), Serial())
    assert calls.count("draw") >= 9
    first, *others = "".join(call[0] for call in calls).split("r")  # before the first run, and from each to the next
    assert set(first) == {"d"}
    assert not [each for each in others if "d" in each.lstrip("d")]


def test_a_segment_is_at_most_eight_times_the_longest_before():
    budget = StepBudget(1.0)
    assert [budget.steps(1000), budget.following(4)] == [4, 32]
    budget.took(4, 0.002)  # a second would be 2000
    assert [budget.steps(1000), budget.following(32), budget.steps(7), budget.following(7)] == [32, 256, 7, 56]
    budget.took(7, 0.0035)
    assert budget.steps(1000) == 56
    budget.took(3, 0.3)
    assert [budget.steps(1000), budget.following(10)] == [10, 10]


def test_a_segment_waits_once_and_a_round_uploads_the_replica_only():
    opened: list[Double] = []
    progress = train(on_double(job(ALL["parameter-averaging, adam kept"], WORKERS), opened=opened), Serial())[1]
    first = [
        "host",
        "set_replica",
        *["set_worker"] * WORKERS,
        "finish",
    ]  # 4 of 6 steps, before it is known how long they take
    end = [*["get_worker"] * WORKERS, "finish"]
    assert progress.round == 2
    assert opened[0].calls == [*first, *end, "set_replica", *end]
