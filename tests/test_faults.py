"""Losing any process at any event, with each strategy, gives the bits of an undisturbed run."""

import random
from functools import partial
from pathlib import Path
from pipes import Fault, Processes, run_pipes

import pytest
from jobs import NAMES, job, strategies, train

from psgd.group.serial import Serial
from psgd.group.transport import Transport

WORKERS, PROCESSES = 4, 3


def train_short(name: str, transport: Transport, directory: Path | None = None) -> object:
    """At least two rounds, an evaluation between rounds and one at the end; checkpoints at all exchanges of reports, if
    there is a directory for them."""
    one = job(strategies(WORKERS)[name], WORKERS, epochs=0.6 if "gradient" in name else 1.0)
    return train(one, transport, directory, 0.0 if directory else 60.0)


def undisturbed(name: str) -> object:
    return train_short(name, Serial())


def forked(name: str) -> Processes:
    return Processes(PROCESSES, partial(train_short, name))


@pytest.mark.parametrize("name", NAMES)
def test_every_single_loss_at_every_event(name):
    """Every process is lost at every event, before or in the middle of a message: in turn, and by other strategies the
    other way round."""
    expected, turn = undisturbed(name), NAMES.index(name)
    with forked(name) as processes:
        calm = processes.run()
        assert set(calm.results.values()) == {expected}
        assert len(calm.results) == PROCESSES
        for event in range(calm.events + 1):
            for victim in range(PROCESSES):
                when = ("before", "torn")[(event + victim + turn) % 2]
                outcome = processes.run([Fault(event, victim, when)])
                assert victim in outcome.lost, (event, victim, when)
                survivors = [p for p in range(PROCESSES) if p != victim]
                found = {p: outcome.results.get(p) for p in survivors}
                assert found == dict.fromkeys(survivors, expected), (event, victim, when)


@pytest.mark.parametrize("name", ["parameter-averaging, adam kept", "gradient-averaging, adam"])
def test_losses_with_checkpoints_at_every_exchange_of_reports(name, tmp_path):
    expected = undisturbed(name)

    def main(directory):
        return partial(train_short, name, directory=directory)

    events = run_pipes(PROCESSES, main(tmp_path / "calm")).events
    for event in range(0, events + 1, 3):
        victim = event % PROCESSES
        outcome = run_pipes(PROCESSES, main(tmp_path / f"run{event}"), [Fault(event, victim, "torn")])
        assert victim in outcome.lost
        assert {result for p, result in outcome.results.items() if p != victim} == {expected}


@pytest.mark.parametrize("name", NAMES)
def test_two_losses_leave_the_last_process_to_finish(name):
    expected = undisturbed(name)
    with forked(name) as processes:
        events = processes.run().events
        draw = random.Random(name)
        for _ in range(8):
            one, two = draw.sample(range(PROCESSES), 2)
            first, second = sorted(draw.sample(range(events), 2))
            when = draw.choice(["before", "torn"])
            outcome = processes.run([Fault(first, one, when), Fault(second, two, when)])
            assert one in outcome.lost
            (last,) = set(range(PROCESSES)) - {one, two}
            assert outcome.results[last] == expected
