"""Local steps on a device: checkpoints, workers that are not finite, and processes that are lost."""

import itertools
from collections.abc import Callable
from functools import partial
from pathlib import Path
from pipes import Fault, Processes, run_pipes

import numpy as np
import pytest
from device_jobs import ALL, WORKERS, check_equal
from jobs import job, poisoned, train
from pretend.double import Double, on_double
from resuming import resumed_at_every_exchange, stopped_at
from short_segments import three_steps

from psgd.backends.device_workers import Segment
from psgd.core.clock import real_clock
from psgd.core.errors import Diverged
from psgd.core.replica import Progress, Replica
from psgd.group.group import Group
from psgd.group.serial import Serial
from psgd.group.transport import Transport
from psgd.training.job import Job
from psgd.training.steps.local_steps import LocalSteps

__all__ = ["three_steps"]  # a fixture


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


@pytest.mark.parametrize("name", ALL)
def test_workers_that_are_not_finite_are_excluded_and_reset(name, tmp_path):
    weights = check_equal(poisoned(job(ALL[name], WORKERS)), tmp_path)
    assert any(0.0 in (each or ()) for each in weights)


@pytest.mark.parametrize("name", ["gradient-averaging, adam", "clipped momentum kept", "plain"])
def test_resuming_with_a_worker_that_is_not_finite_in_the_middle_of_its_round(name, tmp_path, three_steps):
    """In rounds of unequal steps it may have taken all of its own already."""
    resumed_at_every_exchange(lambda: poisoned(job(ALL[name], WORKERS)), SIDES, tmp_path)


@pytest.mark.parametrize("name", ["gradient-averaging, adam", "parameter-averaging, adam averaged"])
def test_a_worker_that_is_not_finite_is_named(name):
    messages = []
    for side in (on_double, lambda one: one):
        with pytest.raises(Diverged) as raised:
            train(side(poisoned(job(ALL[name], WORKERS), exclude=False)), Serial())
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


@pytest.mark.parametrize("name", ["gradient-averaging, adam", "weighted-averaging, adam reset, outer momentum"])
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
