"""Rows gathered by compiled code: the bits of numpy's."""

from dataclasses import replace

import numpy as np
import pytest
from test_sparse import sparse

from psgd.data.dataset import Dataset
from psgd.data.selected import Selected

pytest.importorskip("numba")
FLOAT32 = np.dtype(np.float32)


def dataset(kind: str, features: int, classes: int, scale: float) -> Dataset:
    draw = np.random.default_rng(0)
    inputs = draw.integers(0, 256, (50, features)) if kind == "u1" else draw.normal(size=(50, features))
    targets = draw.integers(0, classes, 50) if classes else draw.normal(size=(50, 3))
    return Dataset(inputs.astype(kind), targets, classes, scale)


@pytest.mark.parametrize("kind", ["u1", "f4", "f8"])
@pytest.mark.parametrize("features", [1, 7, 784, 5000])
@pytest.mark.parametrize(("classes", "outputs"), [(0, 3), (2, 1), (2, 2), (5, 5)])
@pytest.mark.parametrize(("scale", "dtype"), [(1 / 255, np.float32), (1.0, np.float32), (1 / 255, np.float64)])
def test_the_bits_of_numpys(kind, features, classes, outputs, scale, dtype):
    plain = dataset(kind, features, classes, scale)
    compiled = plain.compile(np.dtype(dtype))
    assert compiled.compiled
    readers = [data.reader(40, outputs, np.dtype(dtype)) for data in (compiled, plain)]
    draw = np.random.default_rng(1)
    for rows in (draw.permutation(50)[:40], np.array([49, 0, 0]), np.array([7]), np.array([], np.int64), slice(3, 20)):
        (X, T), (X_plain, T_plain) = (read(rows) for read in readers)
        assert X.shape == X_plain.shape
        assert X.tobytes() == X_plain.tobytes()
        assert T.tobytes() == T_plain.tobytes()
        assert (X[:, -1] == 1).all()
        X[:, -1] = 7  # no later batch may find it


@pytest.mark.parametrize("wrong", [50, -1, 2**40])
def test_rows_that_are_not_there(wrong):
    read = dataset("f4", 7, 5, 1.0).compile(FLOAT32).reader(3, 5, FLOAT32)
    X, _ = read(np.array([1, 2, 3]))
    before = X.copy()
    with pytest.raises(IndexError, match="of a dataset of 50 examples"):
        read(np.array([4, wrong, 5]))
    assert np.array_equal(X, before)


@pytest.mark.parametrize(
    ("classes", "outputs", "rows"), [(0, 2, 3), (0, 4, 3), (4, 1, 3), (4, 2, 3), (4, 5, 3), (2, 2, 5)]
)
def test_buffers_that_do_not_fit_are_not_written_to(classes, outputs, rows):
    """Readers of too many rows, or of other columns than the targets have."""
    with pytest.raises(ValueError, match="buffers have shapes"):
        replace(dataset("f4", 7, classes, 1.0), compiled=True).reader(4, outputs, FLOAT32)(np.zeros(rows, np.int64))


def test_mapped_files_and_chosen_rows(tmp_path):
    plain = dataset("u1", 7, 5, 1 / 255)
    np.save(tmp_path / "x.npy", plain.inputs)
    mapped = Dataset(np.load(tmp_path / "x.npy", mmap_mode="r"), plain.targets, 5, 1 / 255)
    chosen = Selected(mapped, np.arange(49, -1, -1)).compile(FLOAT32)
    assert chosen.base.compiled
    rows = np.array([3, 1, 4])
    X, T = chosen.reader(3, 5, FLOAT32)(rows)
    X_plain, T_plain = plain.reader(3, 5, FLOAT32)(49 - rows)
    assert X.tobytes() == X_plain.tobytes()
    assert T.tobytes() == T_plain.tobytes()


@pytest.mark.parametrize("kind", [np.float16, ">f4", np.longdouble])
def test_unusual_numbers_are_left_to_numpy(kind):
    plain = dataset("f4", 7, 5, 1.0)
    unusual = Dataset(plain.inputs.astype(kind), plain.targets, 5).compile(FLOAT32)
    assert not unusual.compiled
    assert unusual.reader(3, 5, FLOAT32)(np.array([1, 2, 3]))[0].shape == (3, 8)


def test_sparse_rows_are_read_as_before():
    data = sparse()
    assert data.compile(FLOAT32) is data
