"""Arrays of examples: gathered, refused where they do not fit, and split; computed by hand."""

import numpy as np
import pytest
from peak_memory import peak_memory

from psgd.core.errors import DataError, UsageError
from psgd.data.dataset import Dataset
from psgd.data.split import hold_out
from psgd.data.user_arrays import UserArrays

INT64 = np.int64


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


def test_hold_out_copies_a_users_arrays_once():
    """They were copied twice, which takes twice the memory for as long as that lasts."""
    X, y = np.ones((2000, 100)), np.ones(2000)
    assert peak_memory(lambda: hold_out(UserArrays(X, y), 0.05, 0))[1] < 1.3 * X.nbytes


@pytest.mark.parametrize(
    "order",
    [
        np.ascontiguousarray,
        np.asfortranarray,
        lambda X: np.repeat(X, 2, axis=0)[::2],
        lambda X: np.hstack([X, X])[:, :7],
    ],
)
def test_a_batch_of_a_users_array_is_copied_alone_whatever_its_order(order):
    """The whole of an array whose rows do not lie side by side, as that of a DataFrame, was copied for each batch."""
    X = order(np.arange(7000.0).reshape(1000, 7))
    read, rows = UserArrays(X, X[:, 0]).reader(3, 1, X.dtype), np.array([999, 5, 5])
    got_X, got_y = read(rows)
    assert got_X.tolist() == [list(range(7 * row, 7 * row + 7)) for row in rows]
    assert got_y.tolist() == (7 * rows).tolist()
    assert got_X.flags.c_contiguous  # the same bits of a product in any order
    assert got_X.flags.writeable
    assert peak_memory(lambda: read(rows))[1] < X.nbytes / 10


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
