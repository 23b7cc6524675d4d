"""Arrays in npz and npy files: their names and contents, and that mapped arrays are never copied."""

import mmap
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from psgd.config.resolve import resolve
from psgd.core import memory
from psgd.core.errors import DataError, UsageError
from psgd.data.dataset import Data, Dataset
from psgd.data.fingerprint import fingerprint
from psgd.data.sources import arrays
from psgd.data.sources.arrays import Selected
from psgd.data.sources.load import load_data

X = np.arange(24, dtype=np.float32).reshape(6, 2, 2)
Y = np.array([0, 1, 2, 0, 1, 2])


def read(path: Path, *overrides: str) -> Data:
    resolved = resolve(None, ["data.source=npz", f"data.path={path}", "model.loss=squared-error", *overrides]).settings
    return load_data(resolved)


def saved(tmp_path: Path, **arrays: Any) -> Path:
    np.savez(tmp_path / "a.npz", **arrays)
    return tmp_path / "a.npz"


def gathered(part: Any, rows: np.ndarray | slice, columns: int) -> tuple[list[Any], list[Any]]:
    X_BI, T_BO = part.reader(len(part), columns, np.dtype(np.float64))(rows)
    return X_BI[:, :-1].tolist(), T_BO.tolist()


@pytest.mark.parametrize("x", ["x_train", "X_train", "train_x", "train_images", "xtrain"])
@pytest.mark.parametrize("y", ["y_train", "train_y", "train_labels"])
def test_names_of_the_arrays(tmp_path, x, y):
    test = {name.replace("train", "test"): array for name, array in ((x, X[:2]), (y, Y[:2]))}
    data = read(saved(tmp_path, **{x: X, y: Y}, **test, other=np.ones(3)))
    assert (len(data.train), len(data.test), data.train.features, data.train.classes) == (6, 2, 4, 3)
    assert gathered(data.train, slice(1, 2), 3) == ([[4, 5, 6, 7]], [[0, 1, 0]])


def test_one_pair_is_split_by_train_rows(tmp_path):
    data = read(saved(tmp_path, X=X, y=Y), "data.train_rows=4")
    assert (len(data.train), len(data.test)) == (4, 2)
    assert gathered(data.test, slice(0, 1), 3)[0] == [[16, 17, 18, 19]]
    assert read(saved(tmp_path, X=X, y=Y)).test is None


@pytest.mark.parametrize(
    ("dtype", "overrides", "scale"),
    [
        ("u1", [], 1 / 255),
        ("u1", ["data.scale=1"], 1.0),
        ("f4", [], 1.0),
        ("f8", ["data.scale=0.5"], 0.5),
        ("i8", [], 1),
    ],
)
def test_scale(tmp_path, dtype, overrides, scale):
    data = read(saved(tmp_path, x=X.astype(dtype), y=Y), *overrides)
    assert data.preparation == {"kind": "scale", "scale": scale, "shape": [2, 2], "classes": [0, 1, 2]}
    assert gathered(data.train, slice(0, 1), 3)[0] == [[n * scale for n in range(4)]]


@pytest.mark.parametrize(
    ("labels", "classes"),
    [
        (["cat", "dog", "cat", "emu", "dog", "cat"], ["cat", "dog", "emu"]),
        ([-1, 1, -1, 1, 1, 1], [-1, 1]),
        ([0, 3, 1, 0, 3, 1], [0, 1, 2, 3]),  # a gap: 2 may be in no training row, but is a class
        ([1.0, 0.0, 1.0, 0.0, 0.0, 1.0], [0, 1]),
        (np.eye(3)[[2, 0, 1, 2, 0, 1]], [0, 1, 2]),
        ([[4], [5], [4], [5], [4], [5]], [4, 5]),
    ],
)
def test_labels(tmp_path, labels, classes):
    data = read(saved(tmp_path, x=X, y=np.array(labels)))
    assert data.preparation["classes"] == classes
    places = np.argmax(gathered(data.train, slice(0, 6), len(classes))[1], axis=1)
    array = np.array(labels)
    wanted = array.argmax(axis=1).tolist() if array.shape == (6, 3) else array.ravel().tolist()
    assert [classes[place] for place in places] == wanted


def test_regression_targets(tmp_path):
    data = read(saved(tmp_path, x=X, y=np.arange(6)), "data.task=regression")
    assert (data.train.classes, data.train.outputs) == (0, 1)
    assert gathered(data.train, np.array([5, 2]), 1)[1] == [[5], [2]]


@pytest.mark.parametrize(
    ("integers", "stored"),
    [
        (np.arange(6) + 1_700_000_000, np.float64),
        (np.arange(6, dtype=np.uint64) + 2**40, np.float64),
        (np.arange(6) * 2**40, np.float32),
        (np.arange(6, dtype=np.int16), np.float32),
    ],
)
def test_integers_that_float32_would_round_are_float64(tmp_path, integers, stored):
    data = read(saved(tmp_path, x=integers[:, None], y=Y))
    assert data.train.inputs.dtype == stored
    assert gathered(data.train, np.arange(6), 3)[0] == integers[:, None].astype(np.float64).tolist()
    for rows in (slice(0, 6), np.arange(6)):
        X_BI = data.train.reader(6, 3, np.dtype(np.float32))(rows)[0]
        assert X_BI[:, 0].tobytes() == integers.astype(np.float32).tobytes()


def test_a_directory_is_mapped_and_never_copied(tmp_path, monkeypatch):
    for name, array in {"x_train": X, "y_train": Y, "x_test": X[:3], "y_test": Y[:3]}.items():
        np.save(tmp_path / f"{name}.npy", array)
    data = read(tmp_path, "data.validation=0.34")
    for part in (data.train, data.validation, data.test):
        base = part.base.inputs
        while base.base is not None and not isinstance(base, np.memmap):
            base = base.base
        assert isinstance(base, np.memmap)
    assert (len(data.train), len(data.validation), len(data.test)) == (4, 2, 3)
    in_memory = read(saved(tmp_path, x_train=X, y_train=Y), "data.validation=0.34")
    for rows in (slice(0, 3), np.array([3, 0])):
        assert gathered(data.train, rows, 3) == gathered(in_memory.train, rows, 3)
    assert gathered(data.validation, slice(0, 2), 3) == gathered(in_memory.validation, slice(0, 2), 3)


@pytest.mark.parametrize(
    ("arrays", "overrides", "words"),
    [
        (
            {"x_train": X, "y_train": Y, "x_test": X, "y_test": Y + 1},
            [],
            "y_test: row 2 has the label 3, which is none",
        ),
        ({"x": X, "y": Y[:5]}, [], "each row needs a target"),
        ({"x": X, "y": Y / 4}, [], "row 1 holds 0.25; labels are whole numbers or text"),
        ({"x": X, "y": Y * 0}, [], "all labels are 0"),
        ({"x": X, "y": Y * 1e19}, [], "row 1 holds 1e+19, which is beyond int64; write such labels as text"),
        ({"x": X, "y": Y.astype(np.uint64) + 2**63 - 1}, [], "row 1 holds 9223372036854775808, which is beyond int64"),
        ({"x": X, "y": np.array([b"\xe9", b"\xe8", b"a"])[Y]}, [], r"a label that is not UTF-8, b'\xe"),
        ({"x": X, "y": np.full(6, np.nan)}, ["data.task=regression"], "row 0 is not finite in float32"),
        ({"x": X.astype(str), "y": Y}, [], "expected numbers"),
        ({"x": X, "y": np.array([{}] * 6)}, [], "an array of Python objects is not read; save it as numbers or text"),
        (
            {"x": X.astype(np.float64) * 1e39, "y": Y},
            [],
            "row 0, element 0, 1 is 1e+39, too large for float32; scale it",
        ),
        ({"x": X, "y": np.full(6, 1e39)}, ["data.task=regression"], "row 0 is not finite in float32"),
        ({"a": X, "b": Y}, [], "it holds a, b"),
        ({"x": X}, [], "expected arrays x_train and y_train"),
        ({"x": X, "inputs": X, "y": Y}, [], "x and inputs could both be meant"),
        ({"x_train": X, "y_train": Y, "x_test": X[:, :1], "y_test": Y}, [], "has shape (6, 1, 2)"),
    ],
)
def test_invalid_arrays_are_errors(tmp_path, arrays, overrides, words):
    with pytest.raises(DataError) as caught:
        read(saved(tmp_path, **arrays), *overrides)
    assert words in str(caught.value)
    assert "a.npz" in str(caught.value)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("part", ["train", "test"])
@pytest.mark.parametrize("mapped", [False, True])
def test_inputs_that_are_not_finite_are_named(tmp_path, value, part, mapped):
    wrong = np.zeros((5000, 2, 2), np.float32)
    wrong[4999, 1, 0] = value
    whole = {"train": np.zeros((5000, 2, 2), np.float32), "test": np.zeros((5000, 2, 2), np.float32)} | {part: wrong}
    named = {f"x_{name}": array for name, array in whole.items()} | {f"y_{n}": np.arange(5000) % 2 for n in whole}
    path = tmp_path if mapped else saved(tmp_path, **named)
    for name, array in named.items() if mapped else ():
        np.save(tmp_path / f"{name}.npy", array)
    with pytest.raises(
        DataError, match=rf"x_{part}.*: row 4999, element 1, 0 is {value}; correct it or remove the row"
    ):
        read(path)


def test_x_and_y_may_be_beside_test_arrays(tmp_path):
    data = read(saved(tmp_path, x=X, y=Y, x_test=X[:2], y_test=Y[:2]))
    assert (len(data.train), len(data.test)) == (6, 2)
    with pytest.raises(UsageError, match=r"data\.train_rows is 3, but .*a\.npz has test arrays; leave it out"):
        read(tmp_path / "a.npz", "data.train_rows=3")


def test_a_directory_has_the_fingerprint_of_its_rows(tmp_path):
    """The same as in memory where all rows are used; of those that are, where some are set aside."""
    for name, array in {"x": X, "y": Y}.items():
        np.save(tmp_path / f"{name}.npy", array)
    assert fingerprint(read(tmp_path)) == fingerprint(read(saved(tmp_path, x=X, y=Y)))
    prints = [fingerprint(read(tmp_path, "data.validation=0.34", f"training.seed={seed}")) for seed in (0, 0, 1)]
    assert prints[0] == prints[1]
    assert prints[0]["training"] != prints[0]["validation"]
    assert prints[0]["training"] != prints[2]["training"]
    np.save(tmp_path / "y.npy", 2 - Y)
    assert fingerprint(read(tmp_path, "data.validation=0.34")) != prints[0]


def test_one_hot_rows_have_a_class_for_each_column(tmp_path):
    """Also for columns that are 0 in all training rows: the last one here."""
    data = read(saved(tmp_path, x_train=X, y_train=np.eye(4)[Y], x_test=X[:1], y_test=np.eye(4)[[3]]))
    assert (data.train.classes, data.test.classes) == (4, 4)
    assert gathered(data.test, slice(0, 1), 4)[1] == [[0, 0, 0, 1]]


def test_invalid_files_are_errors(tmp_path):
    path = saved(tmp_path, x=X, y=Y)
    path.write_bytes(path.read_bytes()[:-50])
    with pytest.raises(DataError, match=r"a\.npz: truncated: .* copy or download it again"):
        read(path)
    path.write_text("x,y")
    with pytest.raises(DataError, match=r"a\.npz: not an npz file \(3 bytes\); numpy\.savez"):
        read(path)
    with pytest.raises(DataError, match=r"nothing at .*; correct the path"):
        read(tmp_path / "none.npz")
    with pytest.raises(DataError, match=r"nothing at none\.npz, .*; put the data at one of these, or set data.path to"):
        read("none.npz")
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="no npy files there"):
        read(tmp_path / "empty")
    np.save(tmp_path / "empty" / "x.npy", X)
    cut = tmp_path / "empty" / "x.npy"
    cut.write_bytes(cut.read_bytes()[:-8])
    with pytest.raises(DataError, match=r"x\.npy: truncated, or not an npy file"):
        read(tmp_path / "empty")
    with pytest.raises(UsageError, match="leave some to test on"):
        read(saved(tmp_path, x=X, y=Y), "data.train_rows=6")


def test_a_window_is_an_error_without_shuffling():
    with pytest.raises(UsageError, match=r"data.window is 100, but data.mode is partition"):
        resolve(None, ["data.source=npz", "data.path=x", "data.window=100", "data.mode=partition"])


class RecordingMap(mmap.mmap):
    """A mapping that records the calls of madvise."""

    def madvise(self, option: int, start: int = 0, length: int = 0) -> None:
        assert option == mmap.MADV_WILLNEED
        super().madvise(option, start, length)
        asked.append((start, length))


asked: list[tuple[int, int]] = []


def test_pieces_of_a_mapped_array_are_prefetched_once(tmp_path):
    (tmp_path / "rows").write_bytes(bytes(mmap.PAGESIZE) + np.arange(8000, dtype=np.float32).tobytes())
    with open(tmp_path / "rows", "rb") as file:
        mapped = RecordingMap(file.fileno(), 0, access=mmap.ACCESS_READ)
    array = np.frombuffer(mapped, np.float32)[mmap.PAGESIZE // 4 :].reshape(1000, 8)  # 32 bytes a row
    asked.clear()
    dataset = Dataset(array, np.arange(1000) % 2, 2)
    read = Selected(dataset, np.arange(1000), piece=300).reader(4, 2, np.dtype(np.float32))
    assert (read(np.array([1, 299, 300, 5]))[0][:, :-1] == array[[1, 299, 300, 5]]).all()
    ends = [(mmap.PAGESIZE + start, mmap.PAGESIZE + stop) for start, stop in ((0, 9600), (9600, 19200))]
    assert asked == [(s - s % mmap.PAGESIZE, e - s + s % mmap.PAGESIZE) for s, e in ends]
    read(np.array([2, 301]))
    assert len(asked) == 2
    read(slice(998, 1000))
    assert len(asked) == 3
    assert sum(asked[2]) == mmap.PAGESIZE + 32000  # to the end of the array and no further


def test_a_window_changes_only_the_order_of_the_rows(tmp_path):
    np.save(tmp_path / "x.npy", X.repeat(50, axis=0))
    np.save(tmp_path / "y.npy", Y.repeat(50))
    plain, windowed = read(tmp_path), read(tmp_path, "data.window=64")
    rows = np.array([7, 299, 0, 150])
    assert gathered(plain.train, rows, 3) == gathered(windowed.train, rows, 3)


def test_data_larger_than_memory_are_reported(tmp_path, monkeypatch):
    np.save(tmp_path / "x.npy", X)
    np.save(tmp_path / "y.npy", Y)
    assert "larger than memory" not in read(tmp_path).note
    monkeypatch.setattr(arrays, "memory_bytes", lambda: X.nbytes - 1)
    assert "larger than memory: set data.window" in read(tmp_path).note
    assert "larger than memory" not in read(tmp_path, "data.window=3").note


def test_columns_before_rows_are_copied_if_they_fit_in_memory(tmp_path, monkeypatch):
    """A row of a mapped array in Fortran order is spread over the whole file."""
    np.save(tmp_path / "x.npy", np.asfortranarray(X))
    np.save(tmp_path / "y.npy", Y)
    assert gathered(read(tmp_path).train, np.array([2, 0]), 3)[0] == X[[2, 0]].reshape(2, 4).tolist()
    monkeypatch.setattr(memory, "memory_bytes", lambda: X.nbytes - 1)
    with pytest.raises(
        UsageError, match=r"rows of .*x\.npy, copied because .* Fortran order, need .*ascontiguousarray"
    ):
        read(tmp_path)
    np.save(tmp_path / "x.npy", X)
    read(tmp_path)
