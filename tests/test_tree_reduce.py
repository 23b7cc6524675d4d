"""The tree reduction has the bits of a recursive sum, and the placement of workers is even."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from properties import repeatable

from psgd.core.blocks import BLOCK_ELEMENTS, ApplyBlock
from psgd.group.group import Group
from psgd.group.placement import adopt_orphans, default_placement
from psgd.group.serial import Serial
from psgd.group.tree_reduce import Node, TreeReducer, maximal_subtrees
from psgd.group.vector_shape import VectorShape

SIZE = 11

workers_numbers = st.integers(1, 17)
seeds = st.integers(0, 2**32 - 1)


def naive_tree(leaves: dict[int, np.ndarray], first: int, past: int) -> np.ndarray | None:
    """The sum over the workers from `first` to `past`, split recursively at the largest power of two below their
    number; None if none of them has a leaf."""
    if past - first == 1:
        return leaves.get(first)
    half = 1 << ((past - first - 1).bit_length() - 1)
    left, right = naive_tree(leaves, first, first + half), naive_tree(leaves, first + half, past)
    if left is None or right is None:
        return right if left is None else left
    return left + right


def reduce(given: tuple[Node, ...], parts: list[np.ndarray], dtype: np.dtype) -> np.ndarray:
    """The sum by psgd's reducer, in two blocks."""

    def load(number: int, where: slice, out: np.ndarray) -> None:
        out[:] = parts[number][:, where]

    reducer = TreeReducer(parts[0].shape[0], 8, dtype)
    return np.concatenate([reducer.reduce(given, load, s).copy() for s in (slice(0, 8), slice(8, SIZE))], axis=1)


def reduce_by_hosts(contributions: np.ndarray, weights: list[float], hosts: list[int]) -> np.ndarray:
    """The sum by several hosts: each reduces its maximal subtrees, then those sums are reduced."""
    dtype, workers = contributions.dtype, len(weights)
    leaves = {w: dtype.type(q) * contributions[w] for w, q in enumerate(weights) if dtype.type(q)}
    nodes, sums = [], []
    for host in sorted(set(hosts)):
        for worker, level in maximal_subtrees([w for w in range(workers) if hosts[w] == host], workers):
            present = [w for w in range(worker, min(worker + (1 << level), workers)) if w in leaves]
            if present:
                nodes.append((worker, level))
                sums.append(reduce(tuple((w, 0) for w in present), [leaves[w] for w in present], dtype))
    return reduce(tuple(nodes), sums, dtype)


def bits(a: np.ndarray) -> bytes:
    return np.ascontiguousarray(a).tobytes()


@st.composite
def combinations(draw: st.DrawFn) -> tuple[np.ndarray, list[float]]:
    """(contributions (workers, rows, SIZE), weights): some weights are 0, and not all."""
    workers = draw(workers_numbers)
    weights = draw(st.lists(st.sampled_from([0.0, 0.0, 0.125, 0.3, 1 / 3, 1.0]), min_size=workers, max_size=workers))
    if not any(weights):
        weights[draw(st.integers(0, workers - 1))] = 0.7
    random = np.random.Generator(np.random.Philox(draw(seeds)))
    scales = 10.0 ** random.integers(-4, 5, (workers, 1, SIZE))  # so that another order of additions gives other bits
    dtype = draw(st.sampled_from([np.float32, np.float64]))
    return (random.normal(size=(workers, draw(st.sampled_from([1, 3])), SIZE)) * scales).astype(dtype), weights


@repeatable
@given(combinations())
def test_the_reduction_is_the_recursive_tree(combination):
    contributions, weights = combination
    dtype = contributions.dtype
    contributions[[w for w, q in enumerate(weights) if not q]] = np.nan  # 0 * nan would be nan
    leaves = {w: dtype.type(q) * contributions[w] for w, q in enumerate(weights) if q}
    expected = naive_tree(leaves, 0, len(weights))
    reduced = reduce(tuple((w, 0) for w in leaves), list(leaves.values()), dtype)
    assert bits(reduced) == bits(expected)
    exact = sum(leaf.astype(np.float64) for leaf in leaves.values())
    room = sum(abs(leaf.astype(np.float64)) for leaf in leaves.values()) * np.finfo(dtype).eps * 5
    assert (abs(reduced - exact) <= room).all()


@repeatable
@given(combinations())
def test_the_group_combines_by_the_tree(combination):
    """With several blocks, the norm, and contributions of nan with weight 0."""
    narrow, weights = combination
    workers, rows, _ = narrow.shape
    contributions = np.tile(narrow, BLOCK_ELEMENTS // SIZE + 2)  # a little more than a block
    dtype, parameters = contributions.dtype, contributions.shape[2]
    group = Group(Serial(), VectorShape(workers, parameters, 0, rows, dtype))
    for w, q in enumerate(weights):
        group.contribution(w)[:] = contributions[w] if q else np.nan
    reduced, norms, blocks = np.full((rows, parameters), np.nan, dtype), [], []

    def begin(norm: float) -> ApplyBlock:
        def apply(part: np.ndarray, where: slice) -> None:
            reduced[:, where] = part
            norms.append(norm)
            blocks.append(where)

        return apply

    expected = naive_tree({w: dtype.type(q) * contributions[w] for w, q in enumerate(weights) if q}, 0, workers)
    group.combine(np.array(weights), begin)
    assert bits(reduced) == bits(expected)
    assert blocks == [slice(0, BLOCK_ELEMENTS), slice(BLOCK_ELEMENTS, parameters)]
    assert np.isnan(norms).all()
    reduced[:] = np.nan
    group.combine(np.array(weights), begin, with_norm=True)
    assert bits(reduced) == bits(expected)
    assert norms[2:] == [pytest.approx((expected[0].astype(np.float64) ** 2).sum(), rel=1e-12)] * 2


def test_additions_are_in_the_order_of_the_tree():
    """In float32 1e8 + 1 is 1e8: (1e8 + 1) + (-1e8 + 1) is 0, whereas ((1e8 + 1) - 1e8) + 1 is 1."""
    leaves = [np.full((1, SIZE), x, np.float32) for x in (1e8, 1, -1e8, 1)]
    assert (reduce(((0, 0), (1, 0), (2, 0), (3, 0)), leaves, np.dtype(np.float32)) == 0).all()
    assert (reduce(((0, 0), (2, 0), (3, 0)), [leaves[0], leaves[2], leaves[3]], np.dtype(np.float32)) == 0).all()
    assert (reduce(((0, 0), (2, 0), (4, 0)), [leaves[0], leaves[2], leaves[3]], np.dtype(np.float32)) == 1).all()


@repeatable
@given(combinations(), st.data())
def test_the_placement_on_hosts_changes_no_bit(combination, data):
    """Any worker on any host, including one host for each worker and one host for all."""
    contributions, weights = combination
    workers = len(weights)
    hosts = data.draw(st.lists(st.integers(0, 4), min_size=workers, max_size=workers))
    expected = bits(reduce_by_hosts(contributions, weights, [0] * workers))
    assert bits(reduce_by_hosts(contributions, weights, hosts)) == expected
    assert bits(reduce_by_hosts(contributions, weights, list(range(workers)))) == expected


@repeatable
@given(combinations(), st.integers(1, 20))
def test_the_number_of_hosts_changes_no_bit(combination, processes):
    contributions, weights = combination
    placement = default_placement(len(weights), range(processes))
    hosts = [p for p, hosted in placement.items() for _ in hosted]
    assert bits(reduce_by_hosts(contributions, weights, hosts)) == bits(
        reduce_by_hosts(contributions, weights, [0] * len(weights))
    )


def under(node: Node, workers: int) -> list[int]:
    worker, level = node
    assert worker % (1 << level) == 0
    return list(range(worker, min(worker + (1 << level), workers)))


@repeatable
@given(workers_numbers, st.sets(st.integers(0, 16)))
def test_maximal_subtrees_cover_exactly(workers, hosted):
    own = sorted(w for w in hosted if w < workers)
    nodes = maximal_subtrees(own, workers)
    assert sorted(w for node in nodes for w in under(node, workers)) == own
    for worker, level in nodes:  # maximal: the parent has a worker of another host
        if under((worker, level), workers) != list(range(workers)):
            parent = (worker >> (level + 1) << (level + 1), level + 1)
            assert not set(under(parent, workers)) <= set(own)


def test_a_range_of_workers_has_few_maximal_subtrees():
    for workers in range(1, 40):
        height = (workers - 1).bit_length()
        for first in range(workers):
            for past in range(first + 1, workers + 1):
                nodes = maximal_subtrees(range(first, past), workers)
                assert len(nodes) <= max(1, 2 * (height - 1))
    assert maximal_subtrees(range(1, 7), 8) == [(1, 0), (2, 1), (4, 1), (6, 0)]
    assert maximal_subtrees([], 8) == []


def test_a_host_that_is_a_power_of_two_sends_one_sum():
    for workers in (4, 8, 16):
        for processes in (1, 2, 4):
            for hosted in default_placement(workers, range(processes)).values():
                assert len(maximal_subtrees(hosted, workers)) == 1


# Placement of workers


@repeatable
@given(workers_numbers, st.lists(st.integers(0, 99), min_size=1, max_size=20, unique=True))
def test_default_placement_is_even_and_in_order(workers, processes):
    processes.sort()
    placement = default_placement(workers, processes)
    assert list(placement) == processes
    assert [w for hosted in placement.values() for w in hosted] == list(range(workers))
    sizes = [len(hosted) for hosted in placement.values()]
    assert max(sizes) - min(sizes) <= 1
    assert math.ceil(workers / len(processes)) == max(sizes)


@pytest.mark.parametrize(
    ("workers", "processes", "placement"),
    [
        (4, 2, {0: (0, 1), 1: (2, 3)}),
        (4, 3, {0: (0,), 1: (1,), 2: (2, 3)}),
        (2, 4, {0: (0,), 1: (1,), 2: (), 3: ()}),  # two spares
    ],
)
def test_default_placement_by_hand(workers, processes, placement):
    assert default_placement(workers, range(processes)) == placement


def test_adoption_by_hand():
    placement = {0: (0, 1), 1: (2, 3), 2: (4, 5), 7: ()}
    assert adopt_orphans(placement, [0, 2, 7]) == {0: (0, 1), 2: (4, 5), 7: (2, 3)}  # the spare adopts them
    assert adopt_orphans(placement, [0, 2]) == {0: (0, 1, 2), 2: (3, 4, 5)}
    assert adopt_orphans(placement, [7]) == {7: (0, 1, 2, 3, 4, 5)}


@repeatable
@given(workers_numbers, st.integers(1, 12), st.data())
def test_adoption_keeps_every_worker_and_moves_none_of_the_living(workers, processes, data):
    placement = default_placement(workers, range(processes))
    while True:
        living = data.draw(st.lists(st.sampled_from(sorted(placement)), min_size=1, unique=True).map(sorted))
        after = adopt_orphans(placement, living)
        assert sorted(after) == living
        assert sorted(w for hosted in after.values() for w in hosted) == list(range(workers))
        assert all(set(placement[p]) <= set(after[p]) for p in living)
        sizes = [len(after[p]) for p in living]
        adopted = [p for p in living if len(after[p]) > len(placement[p])]
        assert all(len(after[p]) <= min(sizes) + 1 for p in adopted)
        assert adopt_orphans(dict(reversed(placement.items())), living) == after  # whatever the order of the table
        if len(living) == 1:
            break
        placement = after
        if data.draw(st.booleans()):
            break
