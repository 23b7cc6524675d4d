"""The loop apart from the strategies' arithmetic: exclusion, choice of candidates, evaluation, targets, metrics."""

import numpy as np
import pytest
from jobs import job, poisoned, strategies, train
from run_files import read_metrics

from psgd.core.errors import Diverged, StorageError
from psgd.core.replica import Replica
from psgd.data.dataset import Dataset
from psgd.data.sampling.sampler import positions
from psgd.data.sampling.shuffle import Shuffle
from psgd.group.group import Group
from psgd.group.serial import Serial
from psgd.group.threads import run_threads
from psgd.training.checkpoints import Saving
from psgd.training.evaluation import Evaluator
from psgd.training.hooks import Hooks
from psgd.training.job import Job
from psgd.training.loop import Loop
from psgd.training.recorder import Recorder
from psgd.training.replica_holder import CHUNK_EXAMPLES, HostReplica

WORKERS = 4


def poisoned_job(name: str, exclude: bool = True) -> Job:
    return poisoned(job(strategies(WORKERS)[name], WORKERS), exclude=exclude)


def by_hand(one: Job, rounds: int) -> tuple[tuple[int, ...], list[tuple[int, int]]]:
    """Each worker's steps without those of excluded rounds, and the excluded (round, worker)."""
    order, start, steps, excluded = Shuffle(len(one.data.train), one.batch, one.seed).stream, 0, [0] * WORKERS, []
    for round in range(rounds):
        plan = one.strategy.plan.steps(round)
        for worker in range(WORKERS):
            own = positions(plan, worker, 0, plan[worker], start, one.batch)
            rows = np.concatenate([order.rows(p, one.batch) for p in own])
            if np.isnan(one.data.train.inputs[rows]).any():
                excluded.append((round, worker))
            else:
                steps[worker] += plan[worker]
        start += sum(plan) * one.batch
    return tuple(steps), excluded


def test_a_worker_that_is_not_finite_is_named_and_ends_the_job():
    """The sixth batch is gradient averaging's in round 1, by worker 1."""
    one = poisoned_job("gradient-averaging, adam", exclude=False)
    with pytest.raises(Diverged, match="worker 1, round 1: layer 1 weights is not finite"):
        train(one, Serial())


@pytest.mark.parametrize("name", ["gradient-averaging, adam", "parameter-averaging, adam kept"])
def test_a_worker_that_is_not_finite_may_be_excluded_from_its_round_and_reset(name, tmp_path):
    one = poisoned_job(name)
    sha, progress = train(one, Serial(), tmp_path)
    assert run_threads(3, 20.0, lambda t: train(poisoned_job(name), t)) == [(sha, progress)] * 3
    steps, excluded = by_hand(one, rounds=progress.round)
    assert progress.worker_steps == steps
    rows = read_metrics(tmp_path)
    found = [(row["round"] - 1, row["weights"].index(0.0)) for row in rows if 0.0 in row.get("weights", ())]
    assert found == excluded
    assert excluded[0][1] == 1
    three = [row["weights"] for row in rows if 0.0 in row.get("weights", ())]
    assert all(sorted(weights) == [0.0, 0.333333333, 0.333333333, 0.333333333] for weights in three)
    assert all(np.isfinite(row["loss"]) for row in rows if "loss" in row)


def test_a_round_in_which_no_worker_is_finite_leaves_the_replica():
    """All weights are 0: the replica stays, and the round counts."""
    one = job(strategies(1)["gradient-averaging, adam"], 1)
    inputs = np.full_like(one.data.train.inputs, np.nan)
    data = one.data._replace(train=Dataset(inputs, one.data.train.targets, 3))
    fields = {**{f: getattr(one, f) for f in one.__dataclass_fields__}, "data": data, "exclude_nonfinite": True}
    before = one.learner.initial(one.seed)
    loop = Loop(Job(**fields), Serial(), Recorder(None, 216, 1.0, "", quiet=True))
    with pytest.raises(Diverged, match="no worker was finite in any round"):
        loop.run()
    replica = loop.replica
    assert (replica.parameters == before).all()
    assert (replica.progress.combinations, replica.progress.examples) == (0, 0)
    assert replica.progress.position >= 54


def test_a_disk_without_room_for_the_last_checkpoint_costs_no_result(tmp_path):
    """A file in place of the directory of checkpoints: none can be written, but the run's files were before."""
    one = job(strategies(1)["gradient-averaging, adam"], 1)
    (tmp_path / "checkpoints").write_text("")
    finished = []
    loop = Loop(one, Serial(), Recorder(tmp_path, 216, 1.0, "", quiet=True), Saving(tmp_path))
    with pytest.raises(StorageError, match="cannot write the checkpoint"):
        loop.run(Hooks(finish=lambda: finished.append(loop.replica.parameters.copy())))
    assert (finished == loop.replica.parameters).all()


def test_the_candidate_with_the_least_validation_loss_becomes_the_replica(monkeypatch):
    """The loss of the replica is the least of the losses that were computed."""
    one = job(strategies(WORKERS)["weighted-averaging, holdout"], WORKERS)
    seen: list[float] = []
    score = Evaluator.score

    def watched(self, replica, dataset):
        found = score(self, replica, dataset)
        if dataset is one.data.validation:
            seen.append(found.loss)
        return found

    monkeypatch.setattr(Evaluator, "score", watched)
    loop = Loop(one, Serial(), Recorder(None, 216, 1.0, "", quiet=True), segment_seconds=1e9)
    candidates = len(one.strategy.weights.contractions)
    taken = []
    commit = Loop._commit

    def committed(self, plan, work, weights, made):
        commit(self, plan, work, weights, made)
        kept = score(self._evaluator, self.replica, one.data.validation)
        taken.append((min(seen[-candidates:]), kept.loss))

    monkeypatch.setattr(Loop, "_commit", committed)
    loop.run()
    assert len(taken) == loop.replica.progress.round > 1
    assert all(best == kept for best, kept in taken)
    assert len({round(x, 12) for x in seen[:candidates]}) > 1


@pytest.mark.parametrize("processes", [1, 2, 3])
def test_scores_do_not_depend_on_the_number_of_processes(processes):
    one = job(strategies(1)["gradient-averaging, adam"], 1)
    draw = np.random.default_rng(0)
    dataset = Dataset(draw.normal(size=(2 * CHUNK_EXAMPLES + 17, 5)), draw.integers(0, 3, 2 * CHUNK_EXAMPLES + 17), 3)
    parameters = one.learner.initial(0)

    def main(transport):
        own = job(strategies(1)["gradient-averaging, adam"], 1)
        group = Group(transport, own.vectors)
        return Evaluator(group, HostReplica(own, group)).score(Replica(parameters[None]), dataset)

    found = run_threads(processes, 20.0, main)
    X, T = dataset.reader(len(dataset), 3, np.dtype(np.float32))(slice(0, len(dataset)))
    loss, right = one.learner.score(parameters, X, T)
    assert len(set(found)) == 1
    assert found[0].loss == pytest.approx(loss / len(dataset), rel=1e-6)
    assert found[0].accuracy == right / len(dataset)
    assert found == run_threads(1, 20.0, main) * processes


def test_metrics_add_up(tmp_path):
    name = "parameter-averaging, sgd"
    _, progress = train(job(strategies(WORKERS)[name], WORKERS), Serial(), tmp_path)
    rows = read_metrics(tmp_path)
    rounds = [row for row in rows if "loss" in row]
    scores = [row for row in rows if "test_loss" in row]
    assert [row["round"] for row in rounds] == [1, 2]
    assert [row["examples"] for row in rounds] == [144, 288]
    assert rounds[-1]["bytes"] == 2 * 4 * job(strategies(WORKERS)[name], WORKERS).learner.size
    assert len(scores) == 2, "an evaluation at the first boundary after each half epoch, until the end"
    assert progress.position == 288


def test_recording_a_round_counts_as_training_time_and_an_evaluation_does_not(monkeypatch):
    now = [0.0]

    def takes(seconds, act):
        def wrapped(*arguments):
            now[0] += seconds
            return act(*arguments)

        return wrapped

    monkeypatch.setattr(Recorder, "round", takes(1.0, Recorder.round))
    monkeypatch.setattr(Evaluator, "score", takes(100.0, Evaluator.score))
    one = job(strategies(WORKERS)["gradient-averaging, adam"], WORKERS)
    record = Recorder(None, len(one.data.train), one.epochs, "", quiet=True)
    loop = Loop(one, Serial(), record, clock=lambda: now[0])
    rounds = loop.run().progress.round
    assert rounds > 2
    assert loop.stopwatch.train_seconds == rounds
    assert now[0] - rounds >= 100.0
