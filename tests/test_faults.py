"""Losing any process at any event, for each strategy: the undisturbed bits."""

import random
from pathlib import Path
from pipes import Fault, Outcome, Pipe, run_pipes

import pytest
from jobs import NAMES, job, strategies, train

from psgd.group.serial import Serial

WORKERS, PROCESSES = 4, 3


def run(name: str, faults: list[Fault], directory: Path | None = None) -> Outcome:
    def main(transport: Pipe) -> object:
        return train(job(strategies(WORKERS)[name], WORKERS), transport, directory, checkpoint_seconds=0.0)

    return run_pipes(PROCESSES, main, faults)


@pytest.mark.parametrize("name", NAMES)
def test_every_single_loss_at_every_event(name):
    undisturbed = train(job(strategies(WORKERS)[name], WORKERS), Serial())
    calm = run(name, [])
    assert set(calm.results.values()) == {undisturbed}
    assert len(calm.results) == PROCESSES
    for event in range(calm.events + 1):
        for victim in range(PROCESSES):
            for when in ("before", "torn"):
                outcome = run(name, [Fault(event, victim, when)])
                assert victim in outcome.lost, (event, victim, when)
                survivors = [p for p in range(PROCESSES) if p != victim]
                assert {p: outcome.results.get(p) for p in survivors} == dict.fromkeys(survivors, undisturbed), (
                    event,
                    victim,
                    when,
                )


@pytest.mark.parametrize("name", ["parameter-averaging, adam kept", "gradient-averaging, adam"])
def test_losses_with_checkpoints_at_every_meeting(name, tmp_path):
    undisturbed = train(job(strategies(WORKERS)[name], WORKERS), Serial())
    events = run(name, [], tmp_path / "calm").events
    for event in range(0, events + 1, 3):
        victim = event % PROCESSES
        outcome = run(name, [Fault(event, victim, "torn")], tmp_path / f"run{event}")
        assert victim in outcome.lost
        assert {result for p, result in outcome.results.items() if p != victim} == {undisturbed}


@pytest.mark.parametrize("name", NAMES)
def test_two_losses_leave_the_last_process_to_finish(name):
    undisturbed = train(job(strategies(WORKERS)[name], WORKERS), Serial())
    events = run(name, []).events
    draw = random.Random(name)
    for _ in range(8):
        one, two = draw.sample(range(PROCESSES), 2)
        first, second = sorted(draw.sample(range(events), 2))
        when = draw.choice(["before", "torn"])
        outcome = run(name, [Fault(first, one, when), Fault(second, two, when)])
        assert one in outcome.lost
        (last,) = set(range(PROCESSES)) - {one, two}
        assert outcome.results[last] == undisturbed
