"""Reading IDX files, the format of MNIST, compressed or not (https://yann.lecun.com/exdb/mnist)."""

import math
import re
import struct
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from psgd.core.errors import DataError
from psgd.data.dataset import Dataset
from psgd.data.sources.compressed import open_unpacked

# The code in the header -> the type of the stored numbers.
TYPES = {0x08: "u1", 0x09: "i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}

QMNIST_COLUMNS = 8  # of its labels, of which the first is the class
KINDS = "ubyte|byte|short|int"  # of numbers, as file names say

PACKED = (".gz", ".bz2", ".xz")


def read_idx(path: str | Path) -> np.ndarray:
    """Read the array of an IDX file, in native byte order; an array of bytes is read-only. DataError if the file cannot
    be read, is not IDX, or is shorter or longer than its header says."""
    with open_unpacked(Path(path)) as file:
        content = file.read()
    if len(content) < 4 or content[:2] != b"\0\0" or content[2] not in TYPES:
        raise DataError(
            f"{path}: not an IDX file: it begins with {content[:4].hex(' ') or 'nothing'}, not 00 00 TYPE RANK"
        )
    stored, rank = np.dtype(TYPES[content[2]]), content[3]
    start = 4 + 4 * rank
    if len(content) < start:
        raise DataError(f"{path}: expected a header of {start} bytes for {rank} dimensions, found {len(content)} bytes")
    shape = struct.unpack_from(f">{rank}I", content, 4)
    expected = start + math.prod(shape) * stored.itemsize
    if len(content) != expected:
        fault = "truncated" if len(content) < expected else "followed by other bytes"
        raise DataError(
            f"{path}: {fault}: expected {expected} bytes for shape {shape}, found {len(content)}; replace it"
        )
    try:
        array = np.frombuffer(content, stored, math.prod(shape), start).reshape(shape)
    except ValueError as error:  # more dimensions than numpy allows, or an empty array of absurd shape
        raise DataError(f"{path}: shape {shape} cannot be represented: {error}") from error
    return array.astype(stored.newbyteorder("="), copy=False)


def load_idx_directory(path: str | Path) -> tuple[Dataset, Dataset]:
    """Load training and test data from a directory with the four files of MNIST: images (N, F) in 0..255, labels (N,).
    DataError if a file is missing or bad, or if images and labels differ in number."""
    directory = Path(path)
    train_images, train_labels_path, test_images, test_labels_path = find_files(directory)
    train_X, train_labels = _read_pair(train_images, train_labels_path)
    test_X, test_labels = _read_pair(test_images, test_labels_path)
    if train_X.shape[1] != test_X.shape[1]:
        raise DataError(f"{directory}: training images have {train_X.shape[1]} pixels, test images {test_X.shape[1]}")
    if train_labels.min() == train_labels.max():
        raise DataError(f"{directory}: all training labels are {train_labels[0]}; classification needs two classes")
    classes = 1 + int(train_labels.max())
    if (unknown := int(test_labels.max())) >= classes:
        raise DataError(
            f"{directory}: a test image has the label {unknown}; those of training images end at {classes - 1}"
        )
    return (
        Dataset(train_X, train_labels, classes, scale=1 / 255),
        Dataset(test_X, test_labels, classes, scale=1 / 255),
    )


def find_files(directory: Path) -> list[Path]:
    """Find the four files: images and labels for training, then for tests. DataError if one is missing."""
    kinds = ("images-idx3-ubyte", "labels-idx1-ubyte")
    return [_find(directory, splits, kind) for splits in (("train",), ("t10k", "test")) for kind in kinds]


def _read_pair(images_path: Path, labels_path: Path) -> tuple[np.ndarray, np.ndarray]:
    images, labels = read_idx(images_path), read_idx(labels_path)
    if images.dtype != np.uint8 or images.ndim < 2 or images.size == 0:
        raise DataError(
            f"{images_path}: holds {images.dtype} of shape {images.shape}; expected bytes (images, rows, columns)"
        )
    if labels.ndim == 2 and labels.shape[1] == QMNIST_COLUMNS:
        labels = labels[:, 0]
    if labels.dtype.kind not in "iu" or labels.ndim != 1 or labels.min(initial=0) < 0:
        raise DataError(
            f"{labels_path}: holds {labels.dtype} of shape {labels.shape}, from {labels.min(initial=0)}; expected one "
            "whole number of at least 0 an image"
        )
    if len(images) != len(labels):
        raise DataError(f"{images_path} holds {len(images)} images but {labels_path} {len(labels)} labels")
    return images.reshape(len(images), math.prod(images.shape[1:])), labels.astype(np.int64)


def _find(directory: Path, splits: Sequence[str], rest: str) -> Path:
    """Find a file by MNIST's name for it, or by that of a relative, such as emnist-letters-test-images-idx3-ubyte or
    qmnist-test-labels-idx2-int."""
    names = [f"{splits[0]}-{name}{packed}" for packed in ("", *PACKED) for name in (rest, rest.replace("-idx", ".idx"))]
    what = rest.partition("-")[0]
    relative = re.compile(rf".*({'|'.join(splits)})-{what}[-.]idx\d-({KINDS})({'|'.join(PACKED)})?")
    try:
        there = sorted(path.name for path in directory.iterdir() if not path.is_dir())
    except OSError as error:
        raise DataError(f"{directory}: cannot be read: {error.strerror}") from None
    found = [name for name in names if name in there][:1] or [name for name in there if relative.fullmatch(name)]
    if len(found) > 1:
        raise DataError(f"{directory}: {' and '.join(found)} could both be meant; rename one, or move it away")
    if not found:
        raise DataError(
            f"{directory}: none of {', '.join(names)} is there; set data.path to the directory that holds them"
        )
    return directory / found[0]
