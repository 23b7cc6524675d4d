"""libsvm files: their contents, and errors with the line."""

import gzip
import re

import numpy as np
import pytest

from psgd.config.resolve import resolve
from psgd.config.settings import Libsvm
from psgd.core.errors import DataError, UsageError
from psgd.data.sources import libsvm
from psgd.data.sources.libsvm import load_libsvm
from psgd.data.sources.load import load_data

CLASSES, REGRESSION = Libsvm(), Libsvm(task="regression")


@pytest.fixture
def write(tmp_path):
    def write(text: str | bytes, name: str = "a.svm"):
        (tmp_path / name).write_bytes(text.encode() if isinstance(text, str) else text)
        return tmp_path / name

    return write


def read(path, settings=CLASSES):
    return load_libsvm(path, None, settings)


TEXT = """# made by hand
+1 1:0.5 3:-2e0 7:.25   # a comment

-1 qid:4 2:1.
\t1   \r
-1 7:3"""


@pytest.mark.parametrize("chunk", [1, 20, 1 << 20])
@pytest.mark.parametrize("packed", [True, False])
def test_contents_of_a_file(write, monkeypatch, chunk, packed):
    monkeypatch.setattr(libsvm, "READ_BYTES", chunk)
    train, test, *_, preparation = read(write(gzip.compress(TEXT.encode()) if packed else TEXT))
    assert test is None
    assert preparation["classes"] == [-1, 1]
    assert (train.features, train.classes) == (7, 2)
    np.testing.assert_array_equal(train.indptr, [0, 3, 4, 4, 5])
    np.testing.assert_array_equal(train.indices, [0, 2, 6, 1, 6])
    np.testing.assert_array_equal(train.values, np.float32([0.5, -2, 0.25, 1, 3]))
    np.testing.assert_array_equal(train.targets, [1, 0, 1, 0])


@pytest.mark.parametrize("chunk", [1, 1 << 20])
def test_values_that_are_all_1_are_not_stored(write, monkeypatch, chunk):
    monkeypatch.setattr(libsvm, "READ_BYTES", chunk)
    assert read(write("1 1:1 2:1\n0 3:1.0\n")).train.values is None
    np.testing.assert_array_equal(read(write("1 1:1 2:1\n0 3:1.5\n")).train.values, np.float32([1, 1, 1.5]))


@pytest.mark.parametrize(
    ("labels", "names", "targets"),
    [("0 1 0", [0, 1], [0, 1, 0]), ("1 2 1", [1, 2], [0, 1, 0]), ("3.0 7 5", [3, 5, 7], [0, 2, 1])],
)
def test_labels(write, labels, names, targets):
    loaded = read(write("".join(f"{label} 1:1\n" for label in labels.split())))
    assert loaded.preparation["classes"] == names
    assert loaded.train.classes == len(names)
    np.testing.assert_array_equal(loaded.train.targets, targets)


def test_regression_targets(write):
    train, *_, preparation = read(write("1700000001 1:1\n-3 2:1\n"), REGRESSION)
    assert (preparation["classes"], train.classes, train.outputs) == ([], 0, 1)
    np.testing.assert_array_equal(train.targets, [[1700000001], [-3]])


def test_zero_based_indices_and_features(write):
    train = read(write("1 0:1 4:1\n-1 1:2\n"), Libsvm(zero_based=True)).train
    np.testing.assert_array_equal(train.indices, [0, 4, 1])
    assert train.features == 5
    assert read(write("1 3:1\n-1 1:2\n"), Libsvm(features=2**20)).train.features == 2**20


def test_a_byte_order_mark_is_skipped(write):
    assert read(write(b"\xef\xbb\xbf" + b"+1 1:2\n-1 2:1\n")).train.indices.tolist() == [0, 1]


def test_unit_length(write):
    train = read(write("1 1:3 2:4\n-1\n1 2:0\n1 5:-7\n"), Libsvm(unit_length=True)).train
    np.testing.assert_allclose(train.values, [0.6, 0.8, 0, -1])


def test_a_second_file_holds_the_test_data(write):
    train, test, *_ = load_libsvm(write("1 1:1\n2 9:1\n"), write("2 2:1\n", "b.svm"), Libsvm())
    assert (train.features, test.features, len(test)) == (9, 9, 1)
    np.testing.assert_array_equal(test.targets, [1])


TRAIN, TEST = "1 1:1 3:2\n2 2:1\n", "2 3:5 4:7\n1 1:1\n2 8:1\n"


@pytest.mark.parametrize("same_file", [False, True])
def test_features_are_counted_in_the_training_examples_alone(write, same_file):
    if same_file:
        data = load_libsvm(write(TRAIN + TEST), None, Libsvm(train_rows=2))
    else:
        data = load_libsvm(write(TRAIN), write(TEST, "b.svm"), Libsvm())
    train, test = data.train, data.test
    assert (train.features, test.features) == (3, 3)
    assert (train.indptr.tolist(), train.indices.tolist(), train.values.tolist()) == ([0, 2, 3], [0, 2, 1], [1, 2, 1])
    assert (test.indptr.tolist(), test.indices.tolist(), test.values.tolist()) == ([0, 1, 2, 2], [2, 0], [5, 1])
    assert "2 entries of test examples are ignored: no training example has their features" in data.note


def test_classes_are_learnt_from_the_training_examples_alone(write):
    with pytest.raises(DataError, match=r"a\.svm: example 3 has the label 5, which none of the first 2 has"):
        load_libsvm(write("1 1:1\n2 2:1\n5 1:1\n"), None, Libsvm(train_rows=2))
    with pytest.raises(DataError, match="all labels are 1"):
        load_libsvm(write("1 1:1\n1 2:1\n2 1:1\n"), None, Libsvm(train_rows=2))


def test_train_rows_splits_one_file(write):
    path = write("1 1:1\n2 3:1\n1 2:1\n")
    train, test, *_ = load_libsvm(path, None, Libsvm(train_rows=2))
    assert (len(train), len(test), test.indices.tolist()) == (2, 1, [1])
    with pytest.raises(UsageError, match=r"data.train_rows is 3, but .*a.svm has 3 examples"):
        load_libsvm(path, None, Libsvm(train_rows=3))


@pytest.mark.parametrize(
    ("lines", "number", "said", "settings"),
    [
        ("1 1:1\none 1:1\n", 2, "the label 'one' is not a number", Libsvm()),
        ("1 1:1\n\n# c\n1:1 2:1\n", 4, "the label '1:1' is not a number", Libsvm()),
        ("nan 1:1\n", 1, "the label 'nan' is not a number", REGRESSION),
        ("1 1:1\n1 2\n", 2, "'2' is not INDEX:VALUE", Libsvm()),
        ("1 3:4:5 6\n", 1, "'3:4:5' is not INDEX:VALUE", Libsvm()),
        ("1 1:a\n", 1, "'1:a' is not INDEX:VALUE", Libsvm()),
        ("1 1:nan\n", 1, "'1:nan' is not INDEX:VALUE, a whole number and a finite number", Libsvm()),
        ("1 -1:2\n", 1, "'-1:2' is not INDEX:VALUE", Libsvm()),
        ("1 1.5:2\n", 1, "'1.5:2' is not INDEX:VALUE", Libsvm()),
        ("1 1:1_0\n", 1, "'1:1_0' is not INDEX:VALUE", Libsvm()),
        ("1 1: 2\n", 1, "'1:' is not INDEX:VALUE", Libsvm()),
        ("1\x0b1:2\n", 1, "separated by spaces", Libsvm()),
        ("1 1:1\n-1 0:1\n", 2, "the index 0 of indices from 1; set data.zero_based: true", Libsvm()),
        ("1 5:1 6:1\n-1 2:1 2:1\n", 2, "the index 2 is not larger than the one before it", Libsvm()),
        ("1 5:1 4:1\n", 1, "the index 4 is not larger", Libsvm()),
        ("1 5:1\n1 9:1\n", 2, "9 is beyond the largest index allowed, 8; raise data.features", Libsvm(features=8)),
        ("1 8:1\n", 1, "8 is beyond the largest index allowed, 7", Libsvm(features=8, zero_based=True)),
        ("1 2147483648:1\n", 1, "2147483648 is beyond the largest index allowed, 2147483647", Libsvm()),
        ("1 1:1\n0.5 1:1\n", 2, "the label 0.5 is not a whole number; set data.task: regression", Libsvm()),
        ("1 1:1\n1e400 1:1\n", 2, "the label inf is not a whole number", Libsvm()),
        ("1 1:1\n9007199254740993 1:1\n", 2, "the label 9007199254740992 is so large that others are", Libsvm()),
        ("1e39 1:1\n", 1, "the label 1e+39 is too large for float32", REGRESSION),
        ("1 1:1e39\n", 1, "the value 1e+39 is too large for float32", Libsvm()),
    ],
)  # fmt: skip
@pytest.mark.parametrize("chunk", [1, 1 << 20])
def test_invalid_lines_are_named(write, monkeypatch, chunk, lines, number, said, settings):
    monkeypatch.setattr(libsvm, "READ_BYTES", chunk)
    path = write(lines)
    with pytest.raises(DataError, match=re.escape(f"{path}:{number}: ") + ".*" + re.escape(said)):
        read(path, settings)


def test_a_test_label_without_training_rows_is_an_error(write):
    with pytest.raises(DataError, match=r"b.svm:2: the label 3 is none of those trained on \(1, 2\)"):
        load_libsvm(write("1 1:1\n2 2:1\n"), write("2 9:1\n3 1:1\n", "b.svm"), Libsvm())


def test_invalid_files_are_errors(write, tmp_path):
    with pytest.raises(DataError, match="no examples"):
        read(write("# nothing\n\n"))
    with pytest.raises(DataError, match="all labels are 1"):
        read(write("1 1:1\n1 2:1\n"))
    with pytest.raises(DataError, match="No such file"):
        read(tmp_path / "none")
    with pytest.raises(DataError, match="gzip data are truncated or corrupt"):
        read(write(gzip.compress(TEXT.encode())[:-9]))


def test_rows_without_any_feature(write):
    train = read(write("1\n0\n")).train
    assert (train.features, train.indptr.tolist()) == (1, [0, 0, 0])


def test_a_large_file(write):
    """It is larger than one read."""
    draw = np.random.default_rng(0)
    indices = np.sort(draw.integers(1, 5000, (20000, 50)), axis=1) + 5000 * np.arange(50)
    rows = " ".join(["%d:%g"] * 50)
    values = draw.random((20000, 50))
    path = write(
        "".join(
            f"{i % 2} " + rows % tuple(np.column_stack([indices[i], values[i]]).ravel()) + "\n" for i in range(20000)
        )
    )
    train = read(path).train
    np.testing.assert_array_equal(train.indices, indices.ravel() - 1)
    np.testing.assert_allclose(train.values, values.ravel(), rtol=1e-5)


def test_a_config_trains_on_a_file(write):
    path = write(TEXT)
    base = ["data.source=libsvm", "model.hidden=[]", "model.loss=hinge"]
    settings = resolve(None, [*base, f"data.path={path}", "data.train_rows=3", "data.features=9"]).settings
    data = load_data(settings)
    assert (len(data.train), len(data.test), data.train.features) == (3, 1, 9)
    assert data.preparation["classes"] == [-1, 1]
    with pytest.raises(UsageError, match=r"data\.path is null; name a libsvm file"):
        resolve(None, base)
    with pytest.raises(UsageError, match=r"data\.test_path names the test data"):
        resolve(None, [*base, "data.path=a", "data.test_path=b", "data.train_rows=3"])
    with pytest.raises(UsageError, match=r"model\.loss is hinge, which is for classes, but data\.task is regression"):
        resolve(None, [*base, "data.path=a", "data.task=regression"])
