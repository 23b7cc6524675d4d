"""Permutations by compiled code: numpy's, row by row."""

import numpy as np
import pytest

from psgd.backends.backend import Backend
from psgd.backends.numpy.backend import NUMPY
from psgd.core.random_streams import stream
from psgd.core.replica import Progress
from psgd.data.sampling.partition import Partition
from psgd.data.sampling.sampler import Sampler
from psgd.data.sampling.shuffle import Shuffle

pytest.importorskip("numba")
from psgd.backends.numba import permutation as compiled
from psgd.backends.numba.backend import NumbaBackend


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("size", [0, 1, 2, 3, 4, 5, 31, 32, 33, 2047, 2048, 2049, 4096, 4097, 8191, 60_000, 300_001])
def test_numpys_rows(size, seed):
    """Sizes around powers of two, where one bit more is drawn, and around what is drawn at once."""
    rows = compiled.permutation(stream(seed, "shuffle", 7), size)
    assert rows.dtype == np.int64
    assert np.array_equal(rows, stream(seed, "shuffle", 7).permutation(size))


@pytest.mark.parametrize("drawn_at_once", [1, 2, 7])
def test_wherever_drawing_is_cut(drawn_at_once, monkeypatch):
    monkeypatch.setattr(compiled, "DRAWN_AT_ONCE", drawn_at_once)
    for size in range(40):
        rows = compiled.permutation(stream(3, "shuffle", size), size)
        assert np.array_equal(rows, stream(3, "shuffle", size).permutation(size))


def test_many_rows_are_left_to_numpy(monkeypatch):
    monkeypatch.setattr(compiled, "LARGE_SIZE", 10)
    monkeypatch.setattr(compiled, "fisher_yates", lambda *_: pytest.fail("not left to numpy"))
    assert sorted(compiled.permutation(stream(3, "shuffle", 0), 10)) == list(range(10))


@pytest.mark.parametrize("window", [None, 640])
def test_samplers_give_the_same_batches(window):
    def samplers(backend: Backend) -> list[Sampler]:
        return [Shuffle(1003, 7, 5, window, backend), Partition(1003, 7, 2, 5, backend)]

    for plain, other in zip(samplers(NUMPY), samplers(NumbaBackend(7)), strict=True):
        plan, progress = np.array([300, 300]), Progress(dealt=(0, 0))
        for worker in range(2):
            batches = [list(sampler.batches(worker, plan, 0, 300, progress)) for sampler in (plain, other)]
            for (rows, epoch), (other_rows, other_epoch) in zip(*batches, strict=True):
                assert np.array_equal(rows, other_rows)
                assert epoch == other_epoch


def test_where_numpy_draws_otherwise_its_own_is_taken(monkeypatch):
    assert NumbaBackend(5)._permutation is compiled.permutation
    real = compiled.fisher_yates
    monkeypatch.setattr(compiled, "fisher_yates", lambda rows, left, drawn, places: real(rows, left, drawn ^ 1, places))
    backend = NumbaBackend(5)
    assert backend._permutation is np.random.Generator.permutation
    ours, theirs = (
        permutation(stream(0, "shuffle", 0), 100) for permutation in (backend.permutation, NUMPY.permutation)
    )
    assert np.array_equal(ours, theirs)
