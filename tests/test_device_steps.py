"""Local steps on a device: jobs on a double of one have the bits of the same jobs without it."""

import itertools
import json
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from pipes import Fault, Processes, run_pipes

import numpy as np
import pytest
from jobs import NAMES, SPEEDS, job, strategies, train
from pretend.double import Double, on_double
from resuming import resumed_at_every_exchange, stopped_at

from psgd.backends.device_workers import Segment
from psgd.core.clock import real_clock
from psgd.core.errors import Diverged
from psgd.core.replica import Progress, Replica
from psgd.data.dataset import Dataset
from psgd.data.sampling.sampler import RowStream
from psgd.data.sampling.shuffle import Shuffle
from psgd.group.group import Group
from psgd.group.serial import Serial
from psgd.group.threads import run_threads
from psgd.group.transport import Transport
from psgd.optimizers.optimizer import Optimizer
from psgd.optimizers.rules import SGD, Adam
from psgd.optimizers.schedule import Schedule
from psgd.strategy.plans import PacedPlan, exact_speeds
from psgd.strategy.presets import weighted_averaging
from psgd.training.job import Job
from psgd.training.steps.local_steps import LocalSteps
from psgd.training.steps.step_budget import StepBudget

WORKERS = 4
_warm = Schedule(0.1, "cosine", 3.0, 0.5)
_pace = PacedPlan(6, exact_speeds(SPEEDS[:WORKERS], WORKERS))
# Kinds of local work that no job of jobs.py has, at unequal speeds: rates differ from worker to worker.
MORE = {
    "clipped momentum kept": weighted_averaging(_pace, Optimizer(SGD(0.9), _warm, 0.5), "keep", (0.9,)),
    "nesterov averaged": weighted_averaging(_pace, Optimizer(SGD(0.9, nesterov=True), _warm), "average", (0.9,)),
    "amsgrad reset": weighted_averaging(_pace, Optimizer(Adam(amsgrad=True), _warm), "reset", (0.9,)),
    "plain": weighted_averaging(_pace, Optimizer(SGD(), _warm), "keep", (0.9,)),
}
ALL = {**strategies(WORKERS), **MORE}


@pytest.fixture
def three_steps(monkeypatch):
    """Three steps a segment: reports are exchanged within rounds, and at the same steps in every run."""
    monkeypatch.setattr(StepBudget, "steps", lambda self, wanted: min(wanted, 3))


def check_equal(one: Job, directory) -> list:
    """Train it on the CPU and on a double -> the recorded weights of each round. Losses are sums over segments, which
    are cut elsewhere."""
    records, results = [], []
    for side in (on_double, lambda one: one):
        own = directory / str(len(results))
        results.append(train(side(one), Serial(), own))
        rows = [json.loads(line) for line in (own / "metrics.jsonl").read_text().splitlines()]
        records.append([(row["round"], row["examples"], row.get("weights"), row.get("loss", 0.0)) for row in rows])
    assert results[0] == results[1]
    for ours, theirs in zip(*records, strict=True):
        assert ours[:3] == theirs[:3]
        assert ours[3] == pytest.approx(theirs[3], rel=1e-6)
    return [weights for *_, weights, _ in records[0]]


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


# Checkpoints

# From the device to the CPU, back, and to another device.
SIDES = [(on_double, lambda one: one), (lambda one: one, on_double), (on_double, on_double)]


@pytest.mark.parametrize("name", ALL)
def test_resuming_after_a_signal_at_any_exchange_of_reports(name, tmp_path, three_steps):
    resumed_at_every_exchange(lambda: job(ALL[name], WORKERS), SIDES, tmp_path)


def test_checkpoints_have_the_same_bytes(tmp_path, three_steps):
    one = job(ALL["clipped momentum kept"], WORKERS)
    assert stopped_at(on_double(one), 1, tmp_path / "device", Serial())
    assert stopped_at(one, 1, tmp_path / "cpu", Serial())
    ours, theirs = (
        {p.relative_to(d): p.read_bytes() for p in sorted(d.rglob("*.safetensors"))}
        for d in (tmp_path / "device", tmp_path / "cpu")
    )
    assert ours == theirs
    assert len(ours) == 1 + WORKERS


# Workers that are not finite, and processes that are lost


def poisoned(name: str, exclude: bool) -> Job:
    """One example is nan: the sixth batch of the training, and more in later epochs."""
    one = job(ALL[name], WORKERS)
    inputs = one.data.train.inputs.copy()
    inputs[Shuffle(len(inputs), one.batch, one.seed).stream.rows(30, 1)[0]] = np.nan
    train_data = Dataset(inputs, one.data.train.targets, one.data.train.classes)
    return replace(one, data=one.data._replace(train=train_data), exclude_nonfinite=exclude)


@pytest.mark.parametrize("name", ALL)
def test_workers_that_are_not_finite_are_excluded_and_reset(name, tmp_path):
    weights = check_equal(poisoned(name, exclude=True), tmp_path)
    assert any(0.0 in (each or ()) for each in weights)


@pytest.mark.parametrize("name", ["gradient-averaging, adam", "clipped momentum kept", "plain"])
def test_resuming_with_a_worker_that_is_not_finite_in_the_middle_of_its_round(name, tmp_path, three_steps):
    """In rounds of unequal steps it may have taken all of its own already."""
    resumed_at_every_exchange(lambda: poisoned(name, exclude=True), SIDES, tmp_path)


@pytest.mark.parametrize("name", ["gradient-averaging, adam", "parameter-averaging, adam averaged"])
def test_a_worker_that_is_not_finite_is_named(name):
    messages = []
    for side in (on_double, lambda one: one):
        with pytest.raises(Diverged) as raised:
            train(side(poisoned(name, exclude=False)), Serial())
        messages.append(str(raised.value))
    assert messages[0] == messages[1]


def after_a_round(name: str) -> tuple[LocalSteps, Callable[[], list[int]]]:
    """Local steps on a device, all steps of a round taken -> them, and the next reports of what is not finite."""
    one = on_double(job(ALL[name], WORKERS))
    group = Group(Serial(), one.vectors)
    local = LocalSteps(one, group, real_clock, 1e9)
    replica, plan = Replica(group.replicas[0], Progress(dealt=(0,) * WORKERS)), one.strategy.plan.steps(0)
    replica.vectors[:] = 0.0
    replica.parameters[:] = one.learner.initial(3)

    def reports() -> list[int]:
        return [report.first_nonfinite for report in local.run(replica, plan)]

    while any(worker.steps_done < plan[number] for number, worker in local.workers.items()):
        assert reports() == [-1] * WORKERS
    return local, reports


def test_a_worker_that_was_not_finite_when_it_was_saved_is_reported_again():
    local, reports = after_a_round("amsgrad reset")
    local.workers[1].contribution[0, 5] = np.nan
    local.workers[2].moments[2, 7] = np.inf
    local.workers[3].loss = np.nan
    local.restored()
    assert reports() == [-1, 5, 7, local.workers[3].vector.size]


def test_a_segment_is_not_finite_as_the_device_says_or_by_its_loss(monkeypatch):
    def finish(self):
        segment = run(self)
        return Segment(np.array([0.0, np.inf, np.nan, 0.0]), np.array([-1, 4, -1, 6])) if self.broken else segment

    run = Double.finish
    monkeypatch.setattr(Double, "finish", finish)
    monkeypatch.setattr(Double, "broken", False, raising=False)
    local, reports = after_a_round("amsgrad reset")
    local.restart_round()
    monkeypatch.setattr(Double, "broken", True)
    assert reports() == [-1, 4, local.workers[2].vector.size, 6]


def test_workers_that_are_reset_stay_so_when_the_others_are_fetched():
    local, _ = after_a_round("amsgrad reset")
    local.reset([1])
    local.fetch()
    assert not local.workers[1].moments.any()
    assert all(local.workers[number].moments.all(axis=0).any() for number in (0, 2, 3))


def short(name: str) -> Job:
    return job(ALL[name], WORKERS, epochs=0.6 if "gradient" in name else 1.0)


def train_on_double(name: str, transport: Transport, directory: Path | None = None) -> object:
    return train(on_double(short(name)), transport, directory, checkpoint_seconds=0.0)


@pytest.mark.parametrize(
    "name", ["gradient-averaging, adam", "parameter-averaging, adam kept", "parameter-averaging, adam averaged"]
)
def test_losing_a_process_at_any_event(name):
    """The survivors take on its workers, some of them in the middle of a round."""
    expected = train(short(name), Serial())
    with Processes(3, partial(train_on_double, name)) as processes:
        events = processes.run().events
        for event in range(events + 1):
            victim, when = event % 3, ("before", "torn")[event // 3 % 2]
            outcome = processes.run([Fault(event, victim, when)])
            survivors = [p for p in range(3) if p != victim]
            assert {p: outcome.results.get(p) for p in survivors} == dict.fromkeys(survivors, expected), event


@pytest.mark.parametrize("name", ["gradient-averaging, adam", "weighted-averaging, adam reset"])
def test_survivors_save_what_they_had_finished_before_a_loss(name, tmp_path):
    """While the others do the lost steps again, at every exchange of reports."""
    expected = train(short(name), Serial())
    for event in range(3, 15, 2):
        main = partial(train_on_double, name, directory=tmp_path / str(event))
        outcome = run_pipes(3, main, [Fault(event, event // 2 % 3, "before")])
        assert list(outcome.results.values()) == [expected] * 2, event


def test_a_failure_names_the_device_and_the_round(monkeypatch):
    rounds = itertools.count()

    def finish(self):
        if next(rounds) == 2:
            raise RuntimeError("no answer")
        return run(self)

    run = Double.finish
    monkeypatch.setattr(Double, "finish", finish)
    with pytest.raises(RuntimeError, match="no answer") as raised:
        train(on_double(job(ALL["gradient-averaging, adam"], WORKERS)), Serial())
    assert raised.value.__notes__ == ["psgd: on a double, round 2"]
