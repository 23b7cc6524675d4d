"""Strategies of jobs on a double of a device, which have the bits of the same jobs without it."""

import pytest
from jobs import SPEEDS, strategies, train
from pretend.double import on_double
from run_files import read_metrics

from psgd.group.serial import Serial
from psgd.optimizers.optimizer import Optimizer
from psgd.optimizers.rules import SGD, Adam
from psgd.optimizers.schedule import Schedule
from psgd.strategy.plans import PacedPlan, exact_speeds
from psgd.strategy.presets import weighted_averaging
from psgd.training.job import Job

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


def check_equal(one: Job, directory) -> list:
    """Train it on the CPU and on a double -> the recorded weights of each round. Losses are sums over segments, which
    are cut elsewhere."""
    records, results = [], []
    for side in (on_double, lambda one: one):
        own = directory / str(len(results))
        results.append(train(side(one), Serial(), own))
        rows = read_metrics(own)
        records.append([(row["round"], row["examples"], row.get("weights"), row.get("loss", 0.0)) for row in rows])
    assert results[0] == results[1]
    for ours, theirs in zip(*records, strict=True):
        assert ours[:3] == theirs[:3]
        assert ours[3] == pytest.approx(theirs[3], rel=1e-6)
    return [weights for *_, weights, _ in records[0]]
