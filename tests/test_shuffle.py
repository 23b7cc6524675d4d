"""Batches are dealt one by one, and every example is used once an epoch."""

from itertools import pairwise

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from properties import repeatable

from psgd.data.sampling.sampler import positions
from psgd.data.sampling.shuffle import Shuffle


def naive_positions(plan: list[int], start: int, batch: int) -> list[list[int]]:
    """Step after step, every worker with steps left takes the next batch."""
    taken: list[list[int]] = [[] for _ in plan]
    while any(len(own) < steps for own, steps in zip(taken, plan, strict=True)):
        for own, steps in zip(taken, plan, strict=True):
            if len(own) < steps:
                own.append(start)
                start += batch
    return taken


some_plans = st.lists(st.integers(0, 7), min_size=1, max_size=6)


def test_positions_by_hand():
    plan = (3, 1, 2)
    found = [list(positions(plan, w, 0, n, 100, 10)) for w, n in enumerate(plan)]
    assert found == [[100, 130, 150], [110], [120, 140]]


@repeatable
@given(some_plans, st.integers(0, 1000), st.integers(1, 9), st.data())
def test_batches_are_distributed_one_by_one_wherever_segments_end(plan, start, batch, data):
    for worker, expected in enumerate(naive_positions(plan, start, batch)):
        cuts = sorted(data.draw(st.lists(st.integers(0, len(expected)), max_size=4)))
        edges = [0, *cuts, len(expected)]
        segments = [list(positions(plan, worker, first, past - first, start, batch)) for first, past in pairwise(edges)]
        assert [position for segment in segments for position in segment] == expected


@repeatable
@given(
    st.lists(some_plans, min_size=1, max_size=5),
    st.integers(1, 9),
    st.integers(1, 40),
    st.integers(0, 99),
    st.none() | st.integers(1, 50),
)
def test_every_example_once_an_epoch(rounds, batch, examples, seed, window):
    """For any plans; batches and rounds cross epochs, and each worker reads the stream independently."""
    workers = max(map(len, rounds))
    streams, position, taken = [Shuffle(examples, batch, seed, window).stream for _ in range(workers)], 0, {}
    for plan in rounds:
        plan = np.array(plan + [0] * (workers - len(plan)))
        for worker, steps in enumerate(plan.tolist()):
            for at in positions(plan, worker, 0, steps, position, batch):
                for i, row in enumerate(streams[worker].rows(at, batch).tolist()):
                    assert at + i not in taken
                    taken[at + i] = row
        position += int(plan.sum()) * batch
    assert sorted(taken) == list(range(position))
    for epoch in range(position // examples):
        rows = [taken[p] for p in range(epoch * examples, (epoch + 1) * examples)]
        assert sorted(rows) == list(range(examples))
    rest = [taken[p] for p in range(position // examples * examples, position)]
    assert len(set(rest)) == len(rest)


def test_every_epoch_has_its_own_permutation():
    one, other = Shuffle(50, 1, 3).stream, Shuffle(50, 1, 4).stream
    first, second = one.rows(0, 50).tolist(), one.rows(50, 50).tolist()
    assert len({tuple(first), tuple(second), tuple(other.rows(0, 50)), tuple(range(50))}) == 4
    assert one.rows(0, 50).tolist() == first  # an earlier epoch again
    assert one.rows(48, 104).tolist() == first[48:] + second + one.rows(100, 50).tolist() + one.rows(150, 2).tolist()


def test_a_window_holds_long_pieces_that_are_shuffled_together():
    """64 pieces a window, from anywhere; the order of pieces and of rows differs from epoch to epoch."""
    epochs = Shuffle(10_000, 1, 5, 640).stream
    first, second = epochs.rows(0, 10_000), epochs.rows(10_000, 10_000)
    for rows in (first, second):
        windows = [np.sort(rows[start : start + 640]) for start in range(0, 10_000, 640)]
        assert all(1 + np.count_nonzero(np.diff(window) > 1) <= 65 for window in windows)
        assert np.count_nonzero(np.diff(rows) == 1) < 100  # a permutation of all rows would have 15
        assert np.ptp(windows[0]) > 5000
    assert set(first[:640]) != set(second[:640])
