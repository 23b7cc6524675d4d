"""A run that is stopped or killed and resumed with other processes has the bits of an uninterrupted run."""

from functools import partial
from pathlib import Path
from pipes import Fault, run_pipes

import pytest
from jobs import data, job, strategies, train
from resuming import stopped_at
from run_files import read_metrics
from short_segments import cut_segments, three_steps

from psgd.core.errors import StorageError
from psgd.core.replica import Replica
from psgd.group.serial import Serial
from psgd.group.threads import run_threads
from psgd.group.transport import Transport
from psgd.optimizers.optimizer import Optimizer
from psgd.optimizers.rules import Adam
from psgd.optimizers.schedule import Schedule
from psgd.strategy.plans import exact_speeds, period_to_end
from psgd.strategy.presets import parameter_averaging
from psgd.training import checkpoint_files
from psgd.training.loop import Loop
from psgd.training.recorder import Recorder

__all__ = ["three_steps"]  # a fixture
pytestmark = pytest.mark.usefixtures("three_steps")

WORKERS = 4
_one_shot = parameter_averaging(
    WORKERS, period_to_end(36, exact_speeds(None, WORKERS)), Optimizer(Adam(), Schedule(0.01)), "keep"
)
STRATEGIES = {**strategies(WORKERS), "one shot, adam": _one_shot}


def train_with_checkpoints(name: str, directory: Path | None, transport: Transport) -> object:
    epochs = 0.6 if "gradient" in name else 1.0
    return train(job(STRATEGIES[name], WORKERS, epochs), transport, directory, 0.0 if directory else 60.0)


def train_in_short_segments(name: str, directory: Path, transport: Transport) -> object:
    """For a process of its own."""
    cut_segments()
    return train_with_checkpoints(name, directory, transport)


@pytest.mark.parametrize("name", STRATEGIES)
def test_resuming_after_a_signal_at_any_exchange_of_reports(name, tmp_path):
    expected = train(job(STRATEGIES[name], WORKERS), Serial())
    exchange = 0
    while True:
        directory = tmp_path / str(exchange)
        processes = 1 + exchange % 3
        results = run_threads(
            processes, 20.0, lambda t, e=exchange, d=directory: stopped_at(job(STRATEGIES[name], WORKERS), e, d, t)
        )
        if not any(results):
            break
        assert all(results)
        again = 1 + (exchange + 1) % 3
        resumed = run_threads(again, 20.0, lambda t, d=directory: train(job(STRATEGIES[name], WORKERS), t, d))
        assert resumed == [expected] * again, exchange
        exchange += 1
    assert exchange >= 3, "the training was too short to be stopped before its end"


@pytest.mark.parametrize("name", STRATEGIES)
def test_resuming_after_all_processes_were_killed_at_any_event(name, tmp_path):
    """SIGKILL ends them; checkpoints were taken at every exchange of reports, some of them incomplete."""
    expected = train_with_checkpoints(name, None, Serial())
    events = run_pipes(2, partial(train_in_short_segments, name, tmp_path / "calm")).events
    for event in range(1, events, 2):
        directory = tmp_path / str(event)
        main = partial(train_in_short_segments, name, directory)
        outcome = run_pipes(2, main, [Fault(event, 0, "before"), Fault(event, 1, "before")])
        assert outcome.results == {}
        processes = 1 + event % 3
        resumed = run_threads(processes, 20.0, partial(train_with_checkpoints, name, directory))
        assert resumed == [expected] * processes, event


def test_metrics_are_truncated_to_the_checkpoint(tmp_path):
    name = "gradient-averaging, adam"
    train(job(STRATEGIES[name], WORKERS), Serial(), tmp_path / "uninterrupted")
    assert stopped_at(job(STRATEGIES[name], WORKERS), 5, tmp_path / "interrupted", Serial())
    with open(
        tmp_path / "interrupted" / "metrics.jsonl", "a"
    ) as file:  # lines that a killed process wrote after its checkpoint
        file.write('{"round": 6, "epoch": 0.5, "examples": 144}\n{"round": 7, "epo')
    train(job(STRATEGIES[name], WORKERS), Serial(), tmp_path / "interrupted")

    def rounds(directory):

        rows = read_metrics(directory)
        return [(row["round"], row["examples"], row.get("loss"), row.get("test_loss")) for row in rows]

    assert rounds(tmp_path / "interrupted") == rounds(tmp_path / "uninterrupted")


def test_the_two_newest_checkpoints_are_kept(tmp_path):
    train(job(STRATEGIES["gradient-averaging, adam"], WORKERS), Serial(), tmp_path, checkpoint_seconds=0.0)
    assert len(list((tmp_path / "checkpoints").iterdir())) == 2


def test_a_checkpoint_being_replaced_is_always_complete(tmp_path, monkeypatch):
    """Killed while the old one of the same name is removed: a complete one exists."""
    one = job(STRATEGIES["gradient-averaging, adam"], WORKERS)
    result = train(one, Serial(), tmp_path)

    def killed(path):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(checkpoint_files, "_remove", killed)
        with pytest.raises(KeyboardInterrupt):
            train(one, Serial(), tmp_path)
    assert train(one, Serial(), tmp_path) == result


def test_damaged_metrics_are_named(tmp_path):
    one = job(STRATEGIES["gradient-averaging, adam"], WORKERS)
    train(one, Serial(), tmp_path)
    path = tmp_path / "metrics.jsonl"
    path.write_text("rubbish\n" + path.read_text())
    with pytest.raises(StorageError, match=r"metrics\.jsonl, line 1"):
        train(one, Serial(), tmp_path)


def test_equal_runs_save_equal_bytes(tmp_path):
    for directory in (tmp_path / "a", tmp_path / "b"):
        train(job(STRATEGIES["parameter-averaging, adam kept"], WORKERS), Serial(), directory)
    ours, theirs = (
        {p.relative_to(d): p.read_bytes() for p in sorted(d.rglob("*.safetensors"))}
        for d in (tmp_path / "a", tmp_path / "b")
    )
    assert ours == theirs
    assert len(ours) == 1 + WORKERS


def test_the_problem_can_be_learnt():
    """Otherwise equal hashes would prove little."""
    from psgd.group.group import Group
    from psgd.training.evaluation import Evaluator
    from psgd.training.replica_holder import HostReplica

    one = job(STRATEGIES["gradient-averaging, adam"], WORKERS, epochs=30.0)
    loop = Loop(one, Serial(), Recorder(None, 1, 1.0, "", quiet=True))
    score = Evaluator(loop.group, HostReplica(one, loop.group)).score(loop.run(), data().test)
    group = Group(Serial(), one.vectors)
    blank = Evaluator(group, HostReplica(one, group)).score(Replica(one.learner.initial(3)[None]), data().test)
    assert score.accuracy > 0.6 > blank.accuracy
    assert score.loss < blank.loss
