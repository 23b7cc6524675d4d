"""Permutations by compiled code: numpy's, row by row."""

import numpy as np
import pytest

from psgd.core.random_streams import stream
from psgd.core.replica import Progress
from psgd.data.sampling.partition import Partition
from psgd.data.sampling.replacement import Replacement
from psgd.data.sampling.shuffle import Sampler, Shuffle, Shuffled

pytest.importorskip("numba")
from psgd.backends.numba import permutation as compiled
from psgd.backends.numba.machine_code import kernels

FLOAT32 = np.dtype(np.float32)


def ours(draw: np.random.Generator, size: int) -> np.ndarray:
    return compiled.permutation_by(kernels(FLOAT32)["exchange"])(draw, size)


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("size", [0, 1, 2, 3, 4, 5, 31, 32, 33, 2047, 2048, 2049, 4096, 4097, 8191, 60_000, 300_001])
def test_numpys_rows(size, seed):
    """Sizes around powers of two, where one bit more is drawn, and around what is drawn at once."""
    rows = ours(stream(seed, "shuffle", 7), size)
    assert rows.dtype == np.int64
    assert np.array_equal(rows, stream(seed, "shuffle", 7).permutation(size))


@pytest.mark.parametrize("drawn_at_once", [1, 2, 7])
def test_wherever_drawing_is_cut(drawn_at_once, monkeypatch):
    monkeypatch.setattr(compiled, "AT_ONCE", drawn_at_once)
    for size in range(40):
        rows = ours(stream(3, "shuffle", size), size)
        assert np.array_equal(rows, stream(3, "shuffle", size).permutation(size))


def test_many_rows_are_left_to_numpy(monkeypatch):
    monkeypatch.setattr(compiled, "LARGE", 10)
    permutation = compiled.permutation_by(lambda *_: pytest.fail("not left to numpy"))
    assert sorted(permutation(stream(3, "shuffle", 0), 10)) == list(range(10))


@pytest.mark.parametrize("window", [None, 640])
def test_deals_are_the_same(window):
    def deals() -> list[Sampler]:
        return [Shuffle(1003, 7, 5, window), Partition(1003, 7, 2, 5), Replacement(1003, 7, 5)]

    for plain, other in zip(deals(), deals(), strict=True):
        other.compile(FLOAT32)
        plan, progress = np.array([300, 300]), Progress(dealt=(0, 0))
        for worker in range(2):
            hands = [list(sampler.batches(worker, plan, 0, 300, progress)) for sampler in (plain, other)]
            for (rows, epoch), (other_rows, other_epoch) in zip(*hands, strict=True):
                assert np.array_equal(rows, other_rows)
                assert epoch == other_epoch


def test_where_numpy_draws_otherwise_its_own_is_taken(monkeypatch):
    shuffle = Shuffle(100, 5, 0)
    shuffle.compile(FLOAT32)
    assert _permutation_of(shuffle) is not Shuffled.permutation
    exchange = kernels(FLOAT32)["exchange"]
    other = {"exchange": lambda rows, left, drawn, places: exchange(rows, left, drawn ^ 1, places)}
    monkeypatch.setattr(compiled, "kernels", lambda dtype: other)
    shuffle.compile(FLOAT32)
    assert _permutation_of(shuffle) is Shuffled.permutation


def _permutation_of(shuffle: Shuffle) -> object:
    return shuffle._stream.permutation
