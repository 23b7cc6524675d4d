"""Rows gathered by compiled code have the bits of numpy's."""

import numpy as np
import pytest

from psgd.backends.numpy.backend import NUMPY
from psgd.data.dataset import Dataset
from psgd.data.sources.arrays import Selected

pytest.importorskip("numba")
from psgd.backends.numba import backend as numba_backend
from psgd.backends.numba.backend import NumbaBackend

NUMBA = NumbaBackend(1)
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
def test_gathered_batches_have_numpys_bits(kind, features, classes, outputs, scale, dtype):
    plain = dataset(kind, features, classes, scale)
    readers = [plain.reader(40, outputs, np.dtype(dtype), backend) for backend in (NUMBA, NUMPY)]
    draw = np.random.default_rng(1)
    for rows in (draw.permutation(50)[:40], np.array([49, 0, 0]), np.array([7]), np.array([], np.int64), slice(3, 20)):
        (X, T), (X_plain, T_plain) = (read(rows) for read in readers)
        assert X.shape == X_plain.shape
        assert X.tobytes() == X_plain.tobytes()
        assert T.tobytes() == T_plain.tobytes()
        assert (X[:, -1] == 1).all()
        X[:, -1] = 7  # a later batch must overwrite it


@pytest.mark.parametrize("wrong", [50, -1, 2**40])
def test_rows_out_of_range_are_errors(wrong):
    read = dataset("f4", 7, 5, 1.0).reader(3, 5, FLOAT32, NUMBA)
    X, _ = read(np.array([1, 2, 3]))
    before = X.copy()
    with pytest.raises(IndexError, match="of a dataset of 50 examples"):
        read(np.array([4, wrong, 5]))
    assert np.array_equal(X, before)


@pytest.mark.parametrize(
    ("classes", "outputs", "rows"), [(0, 2, 3), (0, 4, 3), (4, 1, 3), (4, 2, 3), (4, 5, 3), (2, 2, 5)]
)
def test_buffers_that_do_not_fit_are_not_written_to(classes, outputs, rows):
    """Too many rows, or columns that do not fit the targets."""
    with pytest.raises(ValueError, match="buffers have shapes"):
        dataset("f4", 7, classes, 1.0).reader(4, outputs, FLOAT32, NUMBA)(np.zeros(rows, np.int64))


def test_mapped_files_and_chosen_rows(tmp_path):
    plain = dataset("u1", 7, 5, 1 / 255)
    np.save(tmp_path / "x.npy", plain.inputs)
    mapped = Dataset(np.load(tmp_path / "x.npy", mmap_mode="r"), plain.targets, 5, 1 / 255)
    chosen = Selected(mapped, np.arange(49, -1, -1))
    rows = np.array([3, 1, 4])
    X, T = chosen.reader(3, 5, FLOAT32, NUMBA)(rows)
    X_plain, T_plain = plain.reader(3, 5, FLOAT32)(49 - rows)
    assert X.tobytes() == X_plain.tobytes()
    assert T.tobytes() == T_plain.tobytes()


@pytest.mark.parametrize("kind", [np.float16, ">f4", np.longdouble])
def test_unusual_numbers_are_left_to_numpy(kind, monkeypatch):
    plain = dataset("f4", 7, 5, 1.0)
    unusual = Dataset(plain.inputs.astype(kind), plain.targets, 5)
    monkeypatch.setattr(numba_backend, "gather_rows", lambda *_: pytest.fail("not left to numpy"))
    X, _ = unusual.reader(3, 5, FLOAT32, NUMBA)(np.array([1, 2, 3]))
    assert np.array_equal(X[:, :-1], plain.inputs[1:4].astype(kind).astype(np.float32))


def test_usual_numbers_are_gathered_by_the_kernel(monkeypatch):
    monkeypatch.setattr(numba_backend.NUMPY.__class__, "gather", lambda *_: pytest.fail("left to numpy"))
    assert dataset("f4", 7, 5, 1.0).reader(3, 5, FLOAT32, NUMBA)(np.array([1, 2, 3]))[0].shape == (3, 8)
