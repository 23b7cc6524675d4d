"""MNIST's files: every type, damaged ones, and where they are looked for."""

import gzip
import os
from pathlib import Path

import numpy as np
import pytest
from idx_files import CODES, idx_bytes

from psgd.config.settings import Idx, Mnist
from psgd.core.errors import DataError
from psgd.data.sources.idx import load_idx_directory, read_idx
from psgd.data.sources.load import find, load_source

INT64 = np.int64


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


def test_directories_are_searched_in_order(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("PSGD_DATA", str(tmp_path / "shared"))
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    with pytest.raises(DataError) as caught:
        load_source(Mnist())
    at_home, shared = tmp_path / "home/.cache/psgd/mnist", tmp_path / "shared/mnist"
    assert f"no directory at {shared}, {at_home}; set data.path" in str(caught.value)
    for place in (at_home, tmp_path / "xdg/psgd/mnist", shared, tmp_path / "own"):
        write_mnist_like(place)
    assert find("mnist", str(tmp_path / "own")) == tmp_path / "own"
    assert find("mnist", None) == shared
    assert str(shared) in load_source(Mnist()).note
    monkeypatch.delenv("PSGD_DATA")
    assert find("mnist", None) == at_home
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert find("mnist", None) == tmp_path / "xdg/psgd/mnist"


def test_a_mistyped_path_does_not_load_other_data(tmp_path, monkeypatch):
    write_mnist_like(tmp_path / "idx")
    monkeypatch.setenv("PSGD_DATA", str(tmp_path))
    with pytest.raises(DataError, match=r"no directory at .*/typo; set data\.path"):
        load_source(Idx(path=str(tmp_path / "typo")))
    assert len(load_source(Idx()).train) == 4


@pytest.mark.skipif(not os.environ.get("PSGD_DATA"), reason="PSGD_DATA is not set: no directory with real MNIST")
def test_real_mnist():
    data = load_source(Mnist(validation=0.05))
    assert (len(data.train), len(data.validation), len(data.test)) == (57000, 3000, 10000)
    assert (data.train.features, data.train.classes) == (784, 10)
    assert data.test.targets[:5].tolist() == [7, 2, 1, 0, 4]
    pixels = int(data.train.inputs.sum(dtype=INT64)) + int(data.validation.inputs.sum(dtype=INT64))
    assert pixels / (60000 * 784 * 255) == pytest.approx(0.1307, abs=5e-5)  # the published mean
