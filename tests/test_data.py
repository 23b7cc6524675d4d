"""Data: the arrays of files, generators and splits, computed by hand, and the errors about invalid ones."""

import gzip
import hashlib
import os
import struct
from pathlib import Path

import numpy as np
import pytest

from psgd.config.resolve import resolve
from psgd.config.settings import Digits, Idx, Mnist, Synthetic
from psgd.core.errors import DataError, UsageError
from psgd.data.dataset import Dataset
from psgd.data.sources.digits import load_digits
from psgd.data.sources.idx import load_idx_directory, read_idx
from psgd.data.sources.load import find, load
from psgd.data.sources.synthetic import synthetic
from psgd.data.split import hold_out

INT64 = np.int64
CODES = {"u1": 0x08, "i1": 0x09, ">i2": 0x0B, ">i4": 0x0C, ">f4": 0x0D, ">f8": 0x0E}


def idx_bytes(values: object, stored: str = "u1") -> bytes:
    array = np.asarray(values, stored)
    return struct.pack(f">BBBB{array.ndim}I", 0, 0, CODES[stored], array.ndim, *array.shape) + array.tobytes()


def numbered(count: int, dtype: type = np.uint8, classes: int = 3) -> Dataset:
    """Row i holds 3i, 3i+1, 3i+2 and the label i modulo classes."""
    inputs = np.arange(3 * count, dtype=dtype).reshape(count, 3)
    return Dataset(inputs, np.arange(count, dtype=INT64) % classes, classes, scale=0.5)


def gathered(data: Dataset, rows: np.ndarray | slice, dtype: type = np.float32, columns: int | None = None):
    count = len(np.arange(len(data))[rows])
    X_BI = np.full((count, data.features + 1), np.nan, dtype)
    T_BO = np.full((count, columns or data.outputs), np.nan, dtype)
    data.gather(rows, X_BI, T_BO)
    assert (X_BI[:, -1] == 1.0).all()
    return X_BI[:, :-1], T_BO


def write_mnist_like(
    directory: Path, separator: str = "-", packed: bool = False, train: int = 4, test: int = 2
) -> Path:
    directory.mkdir(parents=True)
    for split, count in (("train", train), ("t10k", test)):
        images = np.arange(count * 6).reshape(count, 2, 3)
        for kind, rank, values in (("images", 3, images), ("labels", 1, np.arange(count))):
            content = idx_bytes(values)
            name = f"{split}-{kind}{separator}idx{rank}-ubyte" + (".gz" if packed else "")
            (directory / name).write_bytes(gzip.compress(content, mtime=0) if packed else content)
    return directory


def made(examples: int, features: int, classes: int, seed: int) -> tuple[Dataset, Dataset]:
    return synthetic(Synthetic(examples=examples, features=features, classes=classes, seed=seed))


# Dataset


@pytest.mark.parametrize("dtype", [np.uint8, np.float32, np.float64])
@pytest.mark.parametrize("target", [np.float32, np.float64])
def test_gather_writes_scaled_rows_and_one_hot_targets(dtype, target):
    X_BF, T_BO = gathered(numbered(5, dtype), np.array([4, 0, 4]), target)
    assert X_BF.tolist() == [[6, 6.5, 7], [0, 0.5, 1], [6, 6.5, 7]]
    assert T_BO.tolist() == [[0, 1, 0], [1, 0, 0], [0, 1, 0]]


@pytest.mark.parametrize("dtype", [np.uint8, np.float16, np.float32, np.float64, ">f4"])
@pytest.mark.parametrize("target", [np.float32, np.float64])
@pytest.mark.parametrize("scale", [1.0, 1 / 255])
@pytest.mark.parametrize("rows", [slice(3, 9), slice(0, 12, 5), slice(7, 99), slice(4, 4)])
def test_a_slice_and_its_indices_gather_the_same_bits(dtype, target, scale, rows, monkeypatch):
    monkeypatch.setattr("psgd.backends.numpy.backend.SCALED_ELEMENTS", 20)  # two rows
    inputs = (np.random.default_rng(0).random((12, 7)) * 255).astype(dtype)
    data = Dataset(inputs, np.arange(12, dtype=INT64) % 2, 2, scale)
    by_slice, by_index = gathered(data, rows, target), gathered(data, np.arange(12)[rows], target)
    assert by_slice[0].tobytes() == by_index[0].tobytes()
    assert by_slice[1].tobytes() == by_index[1].tobytes()
    expected = inputs[rows].astype(target) * target(scale)
    assert by_slice[0].tobytes() == expected.tobytes()


def test_the_multiplication_is_done_in_the_dtype_of_the_buffer():
    data = Dataset(np.array([[7]], np.uint8), np.zeros(1, INT64), 2, scale=1 / 255)
    assert gathered(data, slice(1), np.float64)[0][0, 0] == 7 * (1 / 255)
    assert gathered(data, slice(1), np.float32)[0][0, 0] == np.float32(7) * np.float32(1 / 255)


def test_two_classes_fill_one_column_with_labels_or_two_one_hot():
    data = numbered(3, classes=2)
    assert data.outputs == 2
    assert gathered(data, np.array([1, 2]), columns=1)[1].tolist() == [[1], [0]]
    assert gathered(data, np.array([1, 2]), columns=2)[1].tolist() == [[0, 1], [1, 0]]


def test_regression_targets_are_copied_unscaled():
    targets = np.array([[1.5, -2], [3, 4], [5, 6]])
    data = Dataset(np.ones((3, 2), np.float32), targets, 0, scale=0.25)
    assert (data.outputs, data.features, len(data)) == (2, 2, 3)
    for rows in (slice(0, 2), np.array([0, 1])):
        X_BF, T_BO = gathered(data, rows)
        assert X_BF.tolist() == [[0.25, 0.25]] * 2
        assert T_BO.tolist() == [[1.5, -2], [3, 4]]


@pytest.mark.parametrize("rows", [np.array([5]), np.array([-1])])
def test_rows_out_of_range_are_refused_not_clipped(rows):
    with pytest.raises(IndexError, match="dataset of 5 examples"):
        numbered(5).gather(rows, np.empty((1, 4)), np.empty((1, 3)))


def test_buffers_that_do_not_fit_are_refused_not_broadcast():
    regression = Dataset(np.ones((5, 1)), np.ones((5, 1)), 0)
    for data, rows, X_shape, T_shape in (
        (numbered(5), slice(4, 6), (2, 4), (2, 3)),
        (numbered(5), slice(0, 2), (2, 4), (2, 1)),
        (numbered(5), slice(0, 2), (2, 4), (1, 3)),
        (numbered(5), slice(0, 2), (2, 3), (2, 3)),
        (regression, slice(0, 2), (2, 5), (2, 1)),
        (regression, slice(0, 2), (2, 2), (2, 4)),
    ):
        with pytest.raises(ValueError, match="these rows need"):
            data.gather(rows, np.empty(X_shape), np.empty(T_shape))


@pytest.mark.parametrize("rows", [slice(1, 3), np.array([1, 2])])
def test_take_copies(rows):
    data = numbered(5)
    part = data.take(rows)
    data.inputs[:] = 0
    assert part.inputs.tolist() == [[3, 4, 5], [6, 7, 8]]
    assert part.targets.tolist() == [1, 2]
    assert (part.classes, part.scale) == (3, 0.5)


@pytest.mark.parametrize(
    ("inputs", "targets", "classes", "message"),
    [
        (np.ones((4, 2)), np.array([0, 1, 3, 4], INT64), 3, "row 2 has the label 3; expected 0 to 2"),
        (np.ones((2, 2)), np.array([0, -1], INT64), 2, "row 1 has the label -1"),
        (np.ones((3, 2)), np.zeros(2, INT64), 2, "3 rows of inputs but 2 targets"),
        (np.ones(3), np.zeros(3, INT64), 2, r"shape \(3,\)"),
        (np.ones((0, 2)), np.zeros(0, INT64), 2, "at least one"),
        (np.ones((2, 2), np.int32), np.zeros(2, INT64), 2, "int32"),
        (np.ones((2, 2)), np.zeros(2), 2, "labels are float64"),
        (np.ones((2, 2)), np.zeros(2, INT64), 1, "number of classes is 1"),
        (np.ones((2, 2)), np.zeros(2), 0, "targets for regression"),
    ],
)
def test_arrays_that_do_not_fit_are_refused(inputs, targets, classes, message):
    with pytest.raises(DataError, match=message):
        Dataset(inputs, targets, classes)


def test_an_invalid_scale_is_refused():
    with pytest.raises(DataError, match="nan"):
        Dataset(np.ones((1, 1)), np.zeros(1, INT64), 2, scale=float("nan"))


# IDX


@pytest.mark.parametrize("stored", CODES)
@pytest.mark.parametrize("packed", [False, True])
def test_idx_of_every_type_plain_or_gzipped(tmp_path, stored, packed):
    values = np.arange(6).reshape(1, 2, 3) * (1 if stored in ("u1", "i1") else 21)
    content = idx_bytes(values, stored)
    path = tmp_path / "some-file"  # recognised by content, whatever its name
    path.write_bytes(gzip.compress(content, mtime=0) if packed else content)
    array = read_idx(path)
    assert array.dtype.isnative
    assert array.dtype == np.dtype(stored).newbyteorder("=")
    assert np.array_equal(array, values)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (idx_bytes([1, 2, 3])[:-1], "truncated: expected 11 bytes .* found 10"),
        (idx_bytes([1, 2, 3]) + b"x", "followed by other bytes: expected 11 bytes .* found 12"),
        (idx_bytes([[1]])[:9], "header of 12 bytes for 2 dimensions, found 9"),
        (b"\0\0\x0a\x01\0\0\0\0", "not an IDX file: it begins with 00 00 0a 01"),
        (b"PK\x03\x04", "a zip archive; unpack it first"),
        (b"", "begins with nothing"),
        (b"\0\0\x08\x03" + b"\xff" * 12, "truncated: expected"),
        (b"\0\0\x08\xff" + b"\0" * 1020, "cannot be represented"),
        (gzip.compress(idx_bytes([1, 2, 3]), mtime=0)[:-3], "gzip data are truncated or corrupt"),
        (gzip.compress(idx_bytes([1, 2, 3]), mtime=0)[:10] + b"\xff" * 20, "gzip data are truncated or corrupt"),
        (gzip.compress(idx_bytes([1, 2, 3]), mtime=0) + b"tail", "gzip data are truncated or corrupt"),
    ],
)
def test_a_damaged_idx_file_is_named(tmp_path, content, message):
    path = tmp_path / "damaged"
    path.write_bytes(content)
    with pytest.raises(DataError, match=f"damaged: .*{message}"):
        read_idx(path)


def test_a_missing_idx_file_is_named(tmp_path):
    with pytest.raises(DataError, match="absent: cannot be read: No such file"):
        read_idx(tmp_path / "absent")


@pytest.mark.parametrize("separator", ["-", "."])
@pytest.mark.parametrize("packed", [False, True])
def test_a_directory_named_like_mnist(tmp_path, separator, packed):
    train, test = load_idx_directory(write_mnist_like(tmp_path / "d", separator, packed))
    assert (train.inputs.shape, test.inputs.shape) == ((4, 6), (2, 6))
    assert train.inputs.dtype == np.uint8
    assert train.inputs[3].tolist() == [18, 19, 20, 21, 22, 23]
    assert train.targets.tolist() == [0, 1, 2, 3]
    assert (train.classes, test.classes, train.scale) == (4, 4, 1 / 255)


@pytest.mark.parametrize("stored", ["i1", ">i2", ">i4"])
def test_labels_of_every_type_and_those_of_qmnist(tmp_path, stored):
    """QMNIST's labels are rows of eight numbers of four bytes, of which the first is the class."""
    directory = write_mnist_like(tmp_path / "d")
    for split, labels in (("train", [3, 0, 1, 2]), ("test", [2, 1])):
        images = directory / f"{'t10k' if split == 'test' else split}-images-idx3-ubyte"
        images.rename(directory / f"qmnist-{split}-images-idx3-ubyte")
        (directory / f"{'t10k' if split == 'test' else split}-labels-idx1-ubyte").unlink()
        rows = [[label, *range(90, 97)] for label in labels]
        (directory / f"qmnist-{split}-labels-idx2-int").write_bytes(idx_bytes(rows, stored))
    train, test = load_idx_directory(directory)
    assert (train.targets.tolist(), test.targets.tolist()) == ([3, 0, 1, 2], [2, 1])


@pytest.mark.parametrize("prefix", ["emnist-letters-", "gzip_"])
def test_a_directory_named_like_relatives_of_mnist(tmp_path, prefix):
    directory = write_mnist_like(tmp_path / "d", packed=True)
    for path in list(directory.iterdir()):
        path.rename(directory / (prefix + path.name.replace("t10k", "test")))
    train, test = load_idx_directory(directory)
    assert (train.inputs.shape, test.inputs.shape) == ((4, 6), (2, 6))
    (directory / "other-train-images-idx3-ubyte").write_bytes(b"")
    with pytest.raises(DataError, match=rf"{prefix}train-images-idx3-ubyte.gz and other-train.* could both be meant"):
        load_idx_directory(directory)


def test_images_and_labels_must_agree(tmp_path):
    directory = write_mnist_like(tmp_path / "d")
    (directory / "t10k-labels-idx1-ubyte").write_bytes(idx_bytes([0]))
    with pytest.raises(DataError, match=r"t10k-images-idx3-ubyte holds 2 images but .*t10k-labels-idx1-ubyte 1 labels"):
        load_idx_directory(directory)
    (directory / "t10k-labels-idx1-ubyte").write_bytes(idx_bytes([0, -1], ">i4"))
    with pytest.raises(DataError, match="int32"):
        load_idx_directory(directory)
    (directory / "t10k-labels-idx1-ubyte").write_bytes(idx_bytes([0, 4]))
    with pytest.raises(DataError, match="a test image has the label 4; those of training images end at 3"):
        load_idx_directory(directory)
    (directory / "train-labels-idx1-ubyte").write_bytes(idx_bytes([2, 2, 2, 2]))
    with pytest.raises(DataError, match="all training labels are 2; classification needs two classes"):
        load_idx_directory(directory)
    (directory / "t10k-labels-idx1-ubyte").unlink()
    with pytest.raises(DataError, match="none of t10k-labels-idx1-ubyte, "):
        load_idx_directory(directory)


# Sources


def test_the_embedded_digits():
    train, test = load_digits()
    assert (train.inputs.shape, test.inputs.shape) == ((1437, 64), (360, 64))
    assert (train.inputs.dtype, train.inputs.max(), train.classes, train.scale) == (np.uint8, 16, 10, 1 / 16)
    assert not {row.tobytes() for row in train.inputs} & {row.tobytes() for row in test.inputs}
    assert [0, 0, 5, 13, 9, 1, 0, 0] in np.concatenate([train.inputs, test.inputs])[:, :8].tolist()
    labels = np.bincount(np.concatenate([train.targets, test.targets]))
    assert labels.tolist() == [178, 182, 177, 183, 181, 182, 181, 179, 174, 180]


def test_synthetic_is_a_function_of_its_arguments():
    first, again, other = (made(1100, 5, 3, seed) for seed in (7, 7, 8))
    for one, two in zip(first, again, strict=True):
        assert one.inputs.tobytes() == two.inputs.tobytes()
        assert one.targets.tobytes() == two.targets.tobytes()
    assert first[0].inputs.tobytes() != other[0].inputs.tobytes()
    assert (len(first[0]), len(first[1]), first[0].inputs.dtype) == (1100, 183, np.float32)
    rows = np.concatenate([part.inputs for part in first])
    assert len(np.unique(rows, axis=0)) == 1283  # no block of rows is drawn twice
    assert len(made(2, 1, 0, 0)[1]) == 1


def test_synthetic_targets_do_not_depend_on_the_machine():
    """Fixed values: they hold for any BLAS, as all sums are exact."""
    train, _ = made(2000, 40, 10, 0)
    assert hashlib.sha256(train.targets.astype("<i8").tobytes()).hexdigest()[:16] == "01cf793f88e8829e"


def test_synthetic_blocks_do_not_depend_on_what_follows():
    short, long = made(600, 4, 3, 0)[0], made(1500, 4, 3, 0)[0]
    assert np.array_equal(short.inputs, long.inputs[:600])
    assert np.array_equal(short.targets, long.targets[:600])


@pytest.mark.parametrize("classes", [2, 3, 10])
def test_synthetic_classes_are_balanced_and_learnable(classes):
    """A linear model is right far above chance on examples that it has not seen."""
    train, test = made(3000, 20, classes, 1)
    shares = np.bincount(train.targets, minlength=classes) / len(train)
    assert shares.min() > 0.4 / classes
    one_hot = np.eye(classes)[train.targets]
    weights = np.linalg.lstsq(train.inputs, one_hot, rcond=None)[0]
    assert np.mean((test.inputs @ weights).argmax(axis=1) == test.targets) > max(0.6, 1.5 / classes)


def test_synthetic_regression_is_learnable_not_trivial():
    train, test = made(3000, 20, 0, 1)
    assert (train.targets.shape, train.outputs) == ((3000, 1), 1)
    assert 0.5 < train.targets.std() < 2
    weights = np.linalg.lstsq(train.inputs, train.targets, rcond=None)[0]
    unexplained = np.mean((test.inputs @ weights - test.targets) ** 2) / test.targets.var()
    assert 0.002 < unexplained < 0.3


@pytest.mark.parametrize("wrong", [{"examples": 0}, {"features": 0}, {"classes": 1}, {"classes": -1}, {"seed": -1}])
def test_synthetic_refuses_sizes_that_make_no_problem(wrong):
    ((name, value),) = wrong.items()
    with pytest.raises(UsageError, match=f"data.{name} is {value};"):
        resolve(None, ["data.source=synthetic", f"data.{name}={value}"])


def test_hold_out_is_disjoint_complete_and_seeded():
    data = numbered(50)
    train, validation = hold_out(data, 0.21, 3)
    assert len(validation) == 10  # 10.5 is rounded to even
    assert sorted([*train.inputs[:, 0], *validation.inputs[:, 0]]) == data.inputs[:, 0].tolist()
    assert np.array_equal(validation.targets, validation.inputs[:, 0] // 3 % 3)  # rows keep their labels
    assert np.array_equal(hold_out(data, 0.21, 3)[1].inputs, validation.inputs)
    assert not np.array_equal(hold_out(data, 0.21, 4)[1].inputs, validation.inputs)
    assert len(hold_out(data, 1e-9, 0)[1]) == 1


@pytest.mark.parametrize("fraction", [0.99, 0.0, 1.0, -0.5])
def test_hold_out_refuses_to_leave_a_part_empty(fraction):
    with pytest.raises(UsageError, match=r"data\.validation is|none to train on"):
        hold_out(numbered(3), fraction, 0)


def test_load_digits_with_and_without_validation():
    whole = load(Digits())
    assert whole.validation is None
    assert whole.note == "digits: embedded; 1437 train, 360 test examples"
    data = load(Digits(validation=0.1))
    assert (len(data.train), len(data.validation), len(data.test)) == (1293, 144, 360)
    assert "144 validation" in data.note


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("data.source=digit", 'data.source is "digit"; it must be one of digits, mnist'),
        ("data.validation=1.0", "data.validation is 1.0"),
        ("data={source: synthetic, examples: null}", "data.examples is null; it must be a whole number"),
    ],
)
def test_invalid_settings_are_refused(override, message):
    with pytest.raises(UsageError, match=message):
        resolve(None, [override])


def test_generated_data_are_split_by_their_own_seed():
    def held(seed: int, training_seed: int) -> list[float]:
        data = load(Synthetic(examples=50, features=3, seed=seed, validation=0.2), training_seed)
        return data.validation.inputs[:, 0].tolist()

    assert held(1, 2) == held(1, 3) != held(2, 2)
    assert (
        load(Digits(validation=0.1), 1).validation.inputs.tobytes()
        != load(Digits(validation=0.1), 2).validation.inputs.tobytes()
    )


def test_directories_are_searched_in_order(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("PSGD_DATA", str(tmp_path / "shared"))
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    with pytest.raises(DataError) as caught:
        load(Mnist())
    at_home, shared = tmp_path / "home/.cache/psgd/mnist", tmp_path / "shared/mnist"
    assert f"no directory at {shared}, {at_home}; set data.path" in str(caught.value)
    for place in (at_home, tmp_path / "xdg/psgd/mnist", shared, tmp_path / "own"):
        write_mnist_like(place)
    assert find("mnist", str(tmp_path / "own")) == tmp_path / "own"
    assert find("mnist", None) == shared
    assert str(shared) in load(Mnist()).note
    monkeypatch.delenv("PSGD_DATA")
    assert find("mnist", None) == at_home
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert find("mnist", None) == tmp_path / "xdg/psgd/mnist"


def test_a_mistyped_path_does_not_load_other_data(tmp_path, monkeypatch):
    write_mnist_like(tmp_path / "idx")
    monkeypatch.setenv("PSGD_DATA", str(tmp_path))
    with pytest.raises(DataError, match=r"no directory at .*/typo; set data\.path"):
        load(Idx(path=str(tmp_path / "typo")))
    assert len(load(Idx()).train) == 4


@pytest.mark.skipif(not os.environ.get("PSGD_DATA"), reason="PSGD_DATA is not set: no directory with real MNIST")
def test_real_mnist():
    data = load(Mnist(validation=0.05))
    assert (len(data.train), len(data.validation), len(data.test)) == (57000, 3000, 10000)
    assert (data.train.features, data.train.classes) == (784, 10)
    assert data.test.targets[:5].tolist() == [7, 2, 1, 0, 4]
    pixels = int(data.train.inputs.sum(dtype=INT64)) + int(data.validation.inputs.sum(dtype=INT64))
    assert pixels / (60000 * 784 * 255) == pytest.approx(0.1307, abs=5e-5)  # the published mean
