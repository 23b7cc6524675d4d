"""Stopping early: when training stops and with which parameters, in every group, after every loss and resumption."""

import math
from dataclasses import replace
from functools import partial
from pathlib import Path
from pipes import Fault, Processes, run_pipes
from typing import Any, NamedTuple

import numpy as np
import pytest
from best_evaluation import by_hand
from jobs import job, loop_of, strategies
from resuming import stopped_at
from run_files import read_metrics

from psgd.core.replica import Progress, Replica
from psgd.group.serial import Serial
from psgd.group.threads import run_threads
from psgd.group.transport import Transport
from psgd.jobs.files.summary import parameters_sha256
from psgd.training.early_stop import EarlyStop, StopRule
from psgd.training.evaluation import Evaluator
from psgd.training.job import Job
from psgd.training.loop import Loop
from psgd.training.replica_holder import HostReplica

WORKERS = 4
NAMES = ("gradient-averaging, momentum, clipped", "parameter-averaging, adam kept", "weighted-averaging, holdout")
RULE = StopRule(3, 0.0)


def early_job(name: str, rule: StopRule | None = RULE, epochs: float = 12.0, **fields: Any) -> Job:
    """A job with a few examples for validation, so that scores are often equal and it stops soon."""
    return replace(job(strategies(WORKERS)[name], WORKERS, epochs), early_stop=rule, **fields)


class Ended(NamedTuple):
    hash: str
    progress: Progress
    best: Any
    scores: dict[str, float]


def trained(one: Job, transport: Transport, directory: Path | None = None, checkpoint_seconds: float = 60.0) -> Ended:
    loop = loop_of(one, transport, directory, checkpoint_seconds)
    result = loop.run()
    return Ended(parameters_sha256(result.parameters), result.progress, loop.early_stop.best, loop.scores)


def trained_by_name(
    name: str,
    transport: Transport,
    rule: StopRule | None = RULE,
    directory: Path | None = None,
    checkpoint_seconds: float = 60.0,
    **fields: Any,
) -> Ended:
    return trained(early_job(name, rule, **fields), transport, directory, checkpoint_seconds)


@pytest.mark.parametrize(
    ("values", "patience", "minimum"),
    [
        ([0.5, 0.6, 0.6, 0.7, 0.7, 0.6, 0.9], 2, 0.0),  # an equal score is no improvement, and the first best stays
        ([0.5, 0.55, 0.58, 0.6, 0.9], 3, 0.06),  # each is better, but by too little; the best is restored all the same
        ([0.5, 0.4, 0.56, 0.55, 0.63, 0.62, 0.61], 2, 0.0625),
        ([0.9, 0.1], 1, 0.0),
        ([-3.0, -2.0, math.nan, -2.5, -1.0], 3, 0.0),
        ([math.nan, math.nan, -3.0, -3.0, -2.0, -5.0, -5.0], 2, 0.0),
        ([math.inf, 0.0, 0.0], 2, 0.0),
    ],
)
def test_when_it_stops_and_what_is_the_best(values, patience, minimum):
    rule = StopRule(patience, minimum)
    sound = [-math.inf if math.isnan(value) else value for value in values]
    last, best = by_hand(sound, rule)
    for kind in ("loss", "accuracy"):
        stop = EarlyStop(rule, 2, np.dtype(np.float32))
        judged = -1
        while not stop.over and judged + 1 < len(values):
            judged += 1
            scores = {"validation_loss": -values[judged], "test_loss": 0.0}
            if kind == "accuracy":
                scores = {"validation_loss": float(judged), "validation_accuracy": values[judged]}
            replica = Replica(np.full((1, 2), judged, np.float32), Progress(round=judged, position=10 * judged))
            for _ in range(2):  # evaluated once more, after a loss
                stop.judge(replica, scores)
        assert (judged, stop.best.round) == (last, best)
        assert (stop.result(replica).parameters == best).all()


def test_the_stop_and_the_restored_parameters_by_hand(monkeypatch, tmp_path):
    """From a run that goes on to the end: its metrics, and its parameters at each evaluation."""
    name = "gradient-averaging, momentum, clipped"
    seen: list[str] = []
    evaluate = Loop._evaluate_if_due

    def watched(loop):
        before = loop.replica.progress.evaluated
        evaluate(loop)
        if loop.replica.progress.evaluated != before:
            seen.append(parameters_sha256(loop.replica.parameters))

    with monkeypatch.context() as patch:
        patch.setattr(Loop, "_evaluate_if_due", watched)
        trained(early_job(name, None), Serial(), tmp_path)
    rows = read_metrics(tmp_path)
    rows = [row for row in rows if "validation_loss" in row]
    assert len(rows) == len(seen) == 24
    stops = set()
    for rule in (StopRule(2, 0.0), RULE, StopRule(4, 0.0), StopRule(3, 0.1), StopRule(99, 0.0)):
        last, best = by_hand([row["validation_accuracy"] for row in rows], rule)
        found = trained(early_job(name, rule), Serial())
        assert found.hash == seen[best]
        assert found.scores == {key: value for key, value in rows[best].items() if "_loss" in key or "_accuracy" in key}
        assert found.progress.round == rows[last]["round"]
        assert found.best.round == rows[best]["round"]
        stops.add((last, best))
    assert len(stops) > 2, "rules that stop at different evaluations"


def test_the_restored_parameters_have_the_scores_that_are_told():
    one = early_job(NAMES[0])
    loop = loop_of(one, Serial())
    score = Evaluator(loop.group, HostReplica(one, loop.group)).score(loop.run(), one.data.validation)
    assert score == (loop.scores["validation_loss"], loop.scores["validation_accuracy"])


@pytest.mark.parametrize("name", NAMES)
def test_every_group_stops_alike(name):
    expected = trained(early_job(name), Serial())
    assert expected.progress.position < early_job(name).end
    assert expected.best.round < expected.progress.round
    for processes in (2, 3):
        found = run_threads(processes, 20.0, lambda transport: trained(early_job(name), transport))
        assert found == [expected] * processes
    assert run_pipes(2, partial(trained_by_name, name)).results == dict.fromkeys(range(2), expected)


@pytest.mark.parametrize("name", NAMES)
def test_a_run_stopped_at_any_exchange_resumes_to_the_same_stop(name, tmp_path):
    expected = trained(early_job(name), Serial())
    step = max(1, expected.progress.round // 6)
    exchanges = range(0, expected.progress.round, step)
    for number, exchange in enumerate(exchanges):
        directory, processes = tmp_path / str(exchange), 1 + number % 2
        stopped = run_threads(processes, 20.0, lambda t, e=exchange, d=directory: stopped_at(early_job(name), e, d, t))
        assert all(stopped)
        again = 2 - number % 2
        assert run_threads(again, 20.0, lambda t, d=directory: trained(early_job(name), t, d)) == [expected] * again
    assert len(exchanges) > 3


def test_a_run_whose_processes_are_all_killed_resumes_to_the_same_stop(tmp_path):
    """SIGKILL, with checkpoints at every exchange of reports; also while the last one is written."""
    name = NAMES[1]
    expected = trained(early_job(name), Serial())

    def main(directory):
        return partial(trained_by_name, name, directory=directory, checkpoint_seconds=0.0)

    calm = run_pipes(2, main(tmp_path / "calm"))
    assert calm.results == dict.fromkeys(range(2), expected)
    for event in range(5, calm.events, 16):
        directory = tmp_path / str(event)
        outcome = run_pipes(2, main(directory), [Fault(event, 0, "before"), Fault(event, 1, "before")])
        assert outcome.results == {}
        assert trained(early_job(name), Serial(), directory) == expected, event


@pytest.mark.parametrize("name", [NAMES[0], NAMES[1]])
def test_a_loss_around_an_evaluation_gives_the_same_stop(name):
    """Also one that some have finished and some have not, and one that ends training."""

    often = partial(trained_by_name, name, rule=StopRule(2, 0.0), evaluate_every=0.25)
    expected = often(Serial())
    assert expected.best.round < expected.progress.round
    with Processes(3, often) as processes:
        calm = processes.run()
        assert set(calm.results) == {0, 1, 2}
        last = range(3 * calm.events // 4, calm.events + 1)
        for event in (*range(0, last.start, 9), *last):
            victim = event % 3
            outcome = processes.run([Fault(event, victim, "torn")])
            left = {process: result for process, result in outcome.results.items() if process != victim}
            assert left == dict.fromkeys({0, 1, 2} - {victim}, expected), event


def test_a_loss_after_the_target_was_reached_does_not_go_on_training():
    one = early_job(NAMES[0], None, target=0.5)
    expected = trained(one, Serial())
    assert expected.progress.reached
    assert expected.progress.position < one.end
    with Processes(3, partial(trained_by_name, NAMES[0], rule=None, target=0.5)) as processes:
        events = processes.run().events
        for event in range(events - 5, events + 1):  # from the last evaluation on
            outcome = processes.run([Fault(event, 1, "torn")])
            assert [outcome.results.get(0), outcome.results.get(2)] == [expected] * 2, event


@pytest.mark.parametrize("name", NAMES)
def test_a_finished_run_goes_on_from_what_was_trained_last_not_from_the_best(name, tmp_path):
    """More epochs after the last one, and more patience after a stop: as if these had been set from the start."""
    short, patient = trained(early_job(name, epochs=3.0), Serial(), tmp_path / "a"), StopRule(6, 0.0)
    assert short.progress.position >= early_job(name, epochs=3.0).end
    assert trained(early_job(name), Serial(), tmp_path / "a") == trained(early_job(name), Serial())
    stopped = trained(early_job(name), Serial(), tmp_path / "b")
    assert trained(early_job(name), Serial(), tmp_path / "b") == stopped  # resumed with nothing to do
    assert trained(early_job(name, patient), Serial(), tmp_path / "b") == trained(early_job(name, patient), Serial())
    assert (
        trained(early_job(name, None), Serial(), tmp_path / "b").hash == trained(early_job(name, None), Serial()).hash
    )


def test_a_run_that_began_without_it_is_evaluated_when_it_goes_on(tmp_path):
    name = NAMES[0]
    before = trained(early_job(name, None, epochs=2.0), Serial(), tmp_path)
    after = trained(early_job(name, epochs=2.0), Serial(), tmp_path)
    assert (after.hash, after.scores, after.best.round) == (before.hash, before.scores, before.progress.round)
    goes_on = trained(early_job(name), Serial(), tmp_path)
    assert goes_on.best.round >= before.progress.round
