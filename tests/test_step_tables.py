"""Rows, rates and factors of many steps as arrays: the bits are those of one step at a time."""

import itertools

import numpy as np
import pytest

from psgd.core.portable_math import cosine, cosines, power, powers
from psgd.core.replica import Progress
from psgd.data.sampling.partition import Partition
from psgd.data.sampling.replacement import Replacement
from psgd.data.sampling.sampler import RowStream
from psgd.data.sampling.shuffle import Shuffle
from psgd.optimizers.optimizer import Optimizer
from psgd.optimizers.rules import SGD, Adam
from psgd.optimizers.schedule import Schedule

RULES = [SGD(), SGD(0.9), SGD(0.9, nesterov=True), Adam(), Adam(0.5, 0.75, 0.5), Adam(amsgrad=True)]
SCHEDULES = [
    Schedule(0.2),
    Schedule(0.2, warmup=1.3),
    Schedule(0.2, "step", decay_every=0.7, decay_factor=0.3),
    Schedule(0.2, "cosine", 5.0, warmup=0.9),
    Schedule(0.2, "cosine", 5.0),
]


@pytest.mark.parametrize("rule", RULES, ids=repr)
@pytest.mark.parametrize("schedule", SCHEDULES, ids=repr)
def test_tables_have_the_bits_of_single_factors(rule, schedule):
    optimizer, draw = Optimizer(rule, schedule), np.random.default_rng(3)
    counts = np.concatenate([np.arange(1, 40), draw.integers(1, 2**40, 40)])[:, None]
    epochs = draw.uniform(0.0, 6.0, (79, 3))
    table = np.zeros((79, 3, 4))
    optimizer.tabulate(counts, epochs, table)
    for step, slot in itertools.product(range(79), range(3)):
        factors = optimizer.factors(int(counts[step, 0]), float(epochs[step, slot]))
        assert table[step, slot].tolist() == [*factors, *[0.0] * (4 - len(factors))]


def test_functions_of_arrays_have_the_bits_of_those_of_numbers():
    turns = np.linspace(0.0, 1.0, 1001)
    assert cosines(turns).tolist() == [cosine(turn) for turn in turns.tolist()]
    exponents = np.arange(2000).reshape(2, 1000)
    before = exponents.copy()
    for base in (0.999, 0.1, 0.0, 1.0):
        assert powers(base, exponents).ravel().tolist() == [power(base, n) for n in range(2000)]
    assert (exponents == before).all()


SAMPLERS = {
    "shuffle": lambda: Shuffle(96, 3, 5),
    "shuffle, batches that straddle epochs": lambda: Shuffle(50, 3, 5),
    "window": lambda: Shuffle(96, 3, 5, window=16),
    "partition": lambda: Partition(96, 3, 4, 5),
    "replacement": lambda: Replacement(96, 3, 4, 5),
}


@pytest.mark.parametrize("name", SAMPLERS)
@pytest.mark.parametrize("plan", [(40,) * 4, (40, 1, 0, 22)])
def test_filled_columns_hold_the_batches_of_their_workers(name, plan):
    """The workers of a process, in any order, at the same and at different steps of their rounds, over some epochs."""
    progress = Progress(position=60, dealt=(5,) * 4)
    for workers, first, most in ([2, 0, 3], 0, 40), ([1, 2], 7, 11), ([3, 1], (0, 1), 9), ([0], 3, 1):
        started = [min(plan[w], n) for w, n in zip(workers, np.broadcast_to(first, len(workers)).tolist(), strict=True)]
        steps = [min(most, plan[worker] - n) for worker, n in zip(workers, started, strict=True)]
        rows, epochs = np.full((40, len(workers), 3), -1, np.int32), np.full((40, len(workers)), -1.0)
        SAMPLERS[name]().fill(workers, plan, started, steps, progress, rows, epochs)
        for column, worker in enumerate(workers):
            batches = list(SAMPLERS[name]().batches(worker, plan, started[column], steps[column], progress))
            assert rows[: steps[column], column].tolist() == [batch.rows.tolist() for batch in batches]
            assert epochs[: steps[column], column].tolist() == [batch.epoch for batch in batches]
            assert (rows[steps[column] :, column] == -1).all()
            assert (epochs[steps[column] :, column] == -1).all()


def test_equal_workers_are_filled_by_one_call(monkeypatch):
    calls = []
    rows = RowStream.rows
    monkeypatch.setattr(
        RowStream, "rows", lambda self, *arguments: (calls.append(arguments), rows(self, *arguments))[1]
    )
    rows_out, epochs = np.empty((9, 2, 3), np.int32), np.empty((9, 2))
    Shuffle(96, 3, 5).fill([1, 3], (10,) * 4, [1, 1], [9, 9], Progress(), rows_out, epochs)
    assert calls == [(12, 108)]


@pytest.mark.parametrize("name", SAMPLERS)
@pytest.mark.parametrize("plan", [(80,) * 4, (80, 1, 0, 44)])
def test_what_is_drawn_ahead_is_not_drawn_again(name, plan, monkeypatch):
    """The next segment of the round finds all that it takes, and the same rows as without."""
    progress, drawn, block = Progress(position=60, dealt=(5,) * 4), [], RowStream._block
    monkeypatch.setattr(RowStream, "_block", lambda self, n: (n in self._blocks or drawn.append(n), block(self, n))[1])
    workers, most = [0, 3], 40
    ahead, plain = SAMPLERS[name](), SAMPLERS[name]()
    for start in (0, most):
        first = [min(plan[worker], start) for worker in workers]
        steps = [min(most, plan[worker] - n) for worker, n in zip(workers, first, strict=True)]
        rows, epochs = np.full((2, most, 2, 3), -1, np.int32), np.zeros((most, 2))
        drawn.clear()
        ahead.fill(workers, plan, first, steps, progress, rows[0], epochs)
        assert (start > 0) == (not drawn)
        plain.fill(workers, plan, first, steps, progress, rows[1], epochs)
        assert rows[0].tobytes() == rows[1].tobytes()
        ahead.draw_ahead(workers, plan, [n + m for n, m in zip(first, steps, strict=True)], most, progress)


def test_the_next_round_is_drawn_ahead():
    drawn = []
    stream = RowStream(10, lambda block: (drawn.append(block), np.arange(10) + 10 * block)[1], kept=2)
    sampler = Shuffle(10, 2, 5)
    sampler.stream = stream
    sampler.draw_ahead([0, 1], (4, 2, 0), [4, 2], 4, Progress(position=20))  # this round ends at 32
    assert drawn == [3, 4]
    assert stream.rows(32, 16).tolist() == list(range(32, 48))
    assert drawn == [3, 4]
