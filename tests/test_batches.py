"""The batches that local steps receive hold the sampler's rows, however many rounds one call gathers."""

from fractions import Fraction

import numpy as np
import pytest

from psgd.core.replica import Progress
from psgd.data.dataset import Dataset
from psgd.data.sampling.partition import Partition
from psgd.data.sampling.replacement import Replacement
from psgd.data.sampling.shuffle import Sampler, Shuffle
from psgd.strategy.plans import PacedPlan
from psgd.training.steps.batches import BatchReader, StepCounts

EXAMPLES, BATCH, WORKERS = 96, 3, 4
F32 = np.dtype(np.float32)
SAMPLERS = {
    "shuffle": lambda: Shuffle(EXAMPLES, BATCH, 5),
    "partition": lambda: Partition(EXAMPLES, BATCH, WORKERS, 5),
    "replacement": lambda: Replacement(EXAMPLES, BATCH, WORKERS, 5),
}


def numbered() -> Dataset:
    """Every example's input is its own number, so that a batch shows which rows it holds."""
    return Dataset(np.arange(EXAMPLES, dtype=np.float32)[:, None], np.arange(EXAMPLES) % 3, 3)


def reader(sampler: Sampler, end: int = 10 * EXAMPLES) -> BatchReader:
    return BatchReader(numbered(), sampler, 3, F32, end)


def read(batches: BatchReader, worker: int, plan: StepCounts, first: int, steps: int, progress: Progress) -> list:
    return [(b.X[:, 0].tolist(), b.epoch) for b in batches.batches(worker, plan, first, steps, progress)]


def sampled(sampler: Sampler, worker: int, plan: StepCounts, first: int, steps: int, progress: Progress) -> list:
    return [(rows.tolist(), epoch) for rows, epoch in sampler.batches(worker, plan, first, steps, progress)]


def rounds(plans: list[StepCounts]) -> list[tuple[StepCounts, Progress]]:
    """Each round's plan, and the progress at which it begins."""
    progress, found = Progress(dealt=(0,) * WORKERS, worker_steps=(0,) * WORKERS), []
    for plan in plans:
        found.append((plan, progress))
        progress = progress.after_round(plan, plan, BATCH, None, 0)
    return found


@pytest.mark.parametrize("name", SAMPLERS)
@pytest.mark.parametrize("period", [1, 2, 3, 40])
def test_every_worker_gets_the_rows_of_its_sampler(name, period):
    """At least forty rounds of single steps, over several epochs; longer rounds; workers in any order."""
    ours, theirs = reader(SAMPLERS[name]()), SAMPLERS[name]()
    for number, (plan, progress) in enumerate(rounds([(period,) * WORKERS] * (80 // period))):
        for worker in range(WORKERS) if number % 2 else reversed(range(WORKERS)):
            expected = sampled(theirs, worker, plan, 0, period, progress)
            assert read(ours, worker, plan, 0, period, progress) == expected


@pytest.mark.parametrize("name", SAMPLERS)
@pytest.mark.parametrize("period", [1, 2, 3])
@pytest.mark.parametrize("slow", ["0.1", "0.2", "0.5", "0.6"])
def test_workers_of_unequal_speeds_get_the_rows_of_their_sampler(name, period, slow):
    """Rounds in which all take equally many steps lie between rounds in which they do not."""
    ours, theirs = reader(SAMPLERS[name]()), SAMPLERS[name]()
    plan = PacedPlan(period, (Fraction(1), *[Fraction(slow)] * (WORKERS - 1)))
    for steps, progress in rounds([plan.steps(round) for round in range(80)]):
        for worker in range(WORKERS):
            expected = sampled(theirs, worker, steps, 0, steps[worker], progress)
            assert read(ours, worker, steps, 0, steps[worker], progress) == expected


@pytest.mark.parametrize("name", SAMPLERS)
def test_epochs_of_batches_follow_the_whole_training_however_fast_a_worker_is(name):
    """A learning-rate schedule sees the same epochs in every mode: a fast worker's own passes do not count."""
    sampler = SAMPLERS[name]()
    for plan, progress in rounds([(5, 1, 0, 2)] * 24):
        for worker in range(WORKERS):
            for _, epoch in sampled(sampler, worker, plan, 0, plan[worker], progress):
                assert 0 <= EXAMPLES * epoch - progress.position < sum(plan) * BATCH


def test_plans_may_change_and_rounds_may_be_split_or_repeated():
    plans = [(1,) * 4, (1,) * 4, (3, 1, 0, 2), (1,) * 4, (2,) * 4, (1,) * 4]
    ours, theirs = reader(SAMPLERS["shuffle"]()), SAMPLERS["shuffle"]()
    known = rounds(plans)
    for plan, progress in (*known[:3], *known[1:], *known[::-1]):  # back to earlier rounds, as after a loss
        for worker in range(WORKERS):
            for first in range(plan[worker]):
                expected = sampled(theirs, worker, plan, first, 1, progress)
                assert read(ours, worker, plan, first, 1, progress) == expected


def test_only_short_rounds_are_gathered_several_at_a_time(monkeypatch):
    calls = []
    gather = Dataset.gather
    monkeypatch.setattr(
        Dataset, "gather", lambda self, rows, *more: (calls.append(len(rows)), gather(self, rows, *more))
    )
    ours = reader(SAMPLERS["shuffle"]())
    for plan, progress in rounds([(1,) * WORKERS] * 16):
        read(ours, 0, plan, 0, 1, progress)
    assert calls == [64 * BATCH]  # batches_per_read(BATCH) rounds


def test_workers_that_gather_ahead_draw_each_epoch_once():
    sampler = Shuffle(EXAMPLES, BATCH, 5)
    drawn = []
    draw = sampler.stream._draw
    sampler.stream._draw = lambda epoch: (drawn.append(epoch), draw(epoch))[1]
    ours = reader(sampler)
    for plan, progress in rounds([(1,) * WORKERS] * 80):
        for worker in range(WORKERS):
            read(ours, worker, plan, 0, 1, progress)
    assert drawn == list(range(10))


def test_no_row_beyond_the_last_epoch_is_gathered():
    """With three rounds left."""
    sampler = Shuffle(EXAMPLES, BATCH, 5)
    drawn = []
    draw = sampler.stream._draw
    sampler.stream._draw = lambda epoch: (drawn.append(epoch), draw(epoch))[1]
    known = rounds([(1,) * WORKERS] * 8)
    ours = reader(sampler, end=EXAMPLES)
    for plan, progress in known[5:]:
        assert read(ours, 2, plan, 0, 1, progress) == sampled(SAMPLERS["shuffle"](), 2, plan, 0, 1, progress)
    assert drawn == [0]
