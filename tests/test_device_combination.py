"""Combinations, scores and digests on devices: jobs on doubles of them have the bits of the same jobs without."""

from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from jobs import NAMES, job, loop_of, poisoned, strategies, train
from pretend.double import Double, on_double
from resuming import resumed_at_every_exchange
from run_files import read_metrics
from short_segments import three_steps

from psgd.core.errors import PsgdError, UsageError
from psgd.group.serial import Serial
from psgd.group.threads import run_threads
from psgd.jobs.files.summary import parameters_sha256
from psgd.training.device_replica import can_combine
from psgd.training.early_stop import StopRule
from psgd.training.job import Job
from psgd.training.loop import Loop
from psgd.training.recorder import Recorder

__all__ = ["three_steps"]  # a fixture

WORKERS = 4
on_devices = partial(on_double, combines=True)


def on_cpu(one: Job) -> Job:
    return one


def trained(one: Job, directory: Path, transport=None) -> tuple:
    """Hash, progress, and what the metrics say, except for times. Losses are sums over segments."""
    result = train(one, transport or Serial(), directory)
    rows = read_metrics(directory)
    scores = ("validation_loss", "validation_accuracy", "test_loss", "test_accuracy")
    return result, [[row.get(name) for name in ("round", "examples", "weights", *scores)] for row in rows]


def check_equal(one: Job, directory: Path) -> list:
    ours, theirs = (trained(side(one), directory / side_name) for side, side_name in ((on_devices, "a"), (on_cpu, "b")))
    assert ours == theirs
    return ours[1]


@pytest.mark.parametrize("workers", [1, 2, 3, 4, 5])
@pytest.mark.parametrize("name", NAMES)
def test_every_strategy_has_the_same_bits_and_scores(name, workers, tmp_path):
    assert any(row[-1] is not None for row in check_equal(job(strategies(workers)[name], workers), tmp_path))


@pytest.mark.parametrize("processes", [2, 3])
@pytest.mark.parametrize("name", NAMES)
def test_each_process_reduces_its_part_and_all_have_the_same_bits(name, processes, tmp_path):
    expected = trained(job(strategies(WORKERS)[name], WORKERS), tmp_path / "cpu")
    directory = tmp_path / "devices"
    directory.mkdir()

    def main(transport):
        return train(on_devices(job(strategies(WORKERS)[name], WORKERS)), transport, directory)

    assert run_threads(processes, 20.0, main) == [expected[0]] * processes


def test_a_round_waits_once_and_copies_neither_contributions_nor_the_replica():
    opened: list[Double] = []
    one = replace(job(strategies(WORKERS)["gradient-averaging, adam"], WORKERS), evaluate_every=1e9)
    progress = train(on_devices(one, opened=opened), Serial())[1]
    assert progress.round > 5
    first = ["host", "set_replica", *["set_worker"] * WORKERS]
    after = ["score", "wait"] * 2 + ["get_replica", "wait"]  # the last evaluation, and the result
    rounds = ["finish", "reduce", "apply"] * progress.round
    assert opened[0].calls == first + rounds + after


def train_and_look(one: Job, transport) -> tuple:
    """Train as `train` does, and look at the host's replica after each round."""
    record = Recorder(None, len(one.data.train), one.epochs, "", quiet=True)
    loop, heard = Loop(one, transport, record, None, segment_seconds=1e9), record.round

    def look(*about):
        heard(*about)
        assert np.isfinite(loop.replica.vectors).all()

    record.round = look
    return parameters_sha256(loop.run().parameters), loop.replica.progress


@pytest.mark.parametrize("act", [train, train_and_look])
def test_a_replica_that_drifts_is_noticed_from_the_device(act, monkeypatch):
    """The double of process 1 changes its replica after the second combination."""
    apply = Double.apply

    def changed(self, factors):
        apply(self, factors)
        if self.broken and self.calls.count("apply") == 2:
            self._queue.append(lambda: self._replica.fill(7.0))

    monkeypatch.setattr(Double, "broken", False, raising=False)
    monkeypatch.setattr(Double, "apply", changed)

    def main(transport):
        own = on_devices(job(strategies(WORKERS)["gradient-averaging, adam"], WORKERS))
        own.device.broken = transport.process == 1
        return act(own, transport)

    with pytest.raises(PsgdError, match=r"replicas drifted apart: .* in round 2"):
        run_threads(2, 20.0, main)


@pytest.mark.parametrize("name", [name for name, one in strategies(WORKERS).items() if can_combine(one)])
def test_where_one_cannot_reach_another_the_host_combines(name, capsys):
    expected, opened = train(job(strategies(WORKERS)[name], WORKERS), Serial()), []

    def main(transport):
        one = on_devices(job(strategies(WORKERS)[name], WORKERS), opened=opened)
        if transport.process == 1:
            one.device.connect = refuse
        return train(one, transport)

    def refuse(rows, place):
        raise UsageError("no way")

    assert run_threads(3, 20.0, main) == [expected] * 3
    assert capsys.readouterr().err.count("no way: combinations are made on the CPU") == 1
    assert not any("reduce" in device.calls for device in opened)


# Checkpoints


# From the devices to the CPU, back, to other devices, and to devices that combine on the host.
SIDES = [(on_devices, on_cpu), (on_cpu, on_devices), (on_devices, on_devices), (on_devices, on_double)]


@pytest.mark.parametrize("shift", range(len(SIDES)))
@pytest.mark.parametrize("name", NAMES)
def test_resuming_after_a_signal_at_any_exchange_of_reports(name, shift, tmp_path, three_steps):
    """A round may be complete then, and only its combination be missing."""
    sides = [*SIDES[shift:], *SIDES[:shift]]
    resumed_at_every_exchange(lambda: job(strategies(WORKERS)[name], WORKERS), sides, tmp_path)


# Rounds that end otherwise


def poisoned_job(name: str, rows: int) -> Job:
    return poisoned(job(strategies(WORKERS)[name], WORKERS), rows)


@pytest.mark.parametrize("name", NAMES)
def test_workers_that_are_not_finite_are_left_out(name, tmp_path):
    rows = check_equal(poisoned_job(name, 1), tmp_path)
    assert any(0.0 in (weights or ()) for _, _, weights, *_ in rows)


@pytest.mark.parametrize("processes", [1, 2])
def test_rounds_without_any_combination(processes, tmp_path):
    """Then the digest is of another part of the same replica."""
    one = poisoned_job("gradient-averaging, adam", 60)
    expected = trained(one, tmp_path / "cpu")[0]
    assert expected[1].combinations < expected[1].round
    results = run_threads(
        processes, 20.0, lambda transport: train(on_devices(poisoned_job("gradient-averaging, adam", 60)), transport)
    )
    assert results == [expected] * processes


def test_one_process_may_look_at_the_replica_in_any_round():
    expected = train(poisoned_job("gradient-averaging, adam", 60), Serial())

    def main(transport):
        one = on_devices(poisoned_job("gradient-averaging, adam", 60))
        return (train if transport.process else train_and_look)(one, transport)

    assert run_threads(2, 20.0, main) == [expected] * 2


def test_the_best_parameters_are_kept_when_training_stops_early(tmp_path):
    one = job(strategies(WORKERS)["parameter-averaging, adam kept"], WORKERS, epochs=12.0)
    results = []
    for side in on_devices, on_cpu:
        loop = loop_of(replace(side(one), early_stop=StopRule(2, 0.01)))
        result = loop.run()
        results.append((result.parameters.tobytes(), loop.replica.parameters.tobytes(), loop.early_stop.best))
    assert results[0] == results[1]
    assert results[0][0] != results[0][1]
