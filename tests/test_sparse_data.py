"""Sparse data: rows, and what is generated, against dense arrays."""

from dataclasses import replace

import numpy as np
import pytest
from sparse_problems import FEATURES, WIDE, dense, sparse

from psgd.config.settings import SyntheticSparse
from psgd.core.errors import DataError, UsageError
from psgd.data.sources.synthetic_sparse import synthetic_sparse
from psgd.data.sparse import SparseDataset
from psgd.data.split import hold_out


@pytest.mark.parametrize("binary", [True, False])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize(
    "rows",
    [np.array([3]), np.array([0]), np.array([7, 7, 0, 2]), np.array([0, 59]), slice(0, 9), slice(58, 60),
     slice(4, 9, 2), slice(0, 60)],
    ids=str,
)  # fmt: skip
def test_a_reader_gives_the_rows(binary, dtype, rows):
    data = sparse(binary=binary, scale=0.25)
    read = data.reader(60, 1, np.dtype(dtype))
    read(slice(0, 60))  # this call overwrites what an earlier one left in the buffers
    (starts, indices, values), T_BO = read(rows)
    X_BF = np.zeros((len(starts) - 1, FEATURES))
    for row in range(len(X_BF)):
        where = slice(starts[row], starts[row + 1])
        X_BF[row, indices[where]] = values[where]
    reference = dense(data)
    np.testing.assert_array_equal(X_BF, reference.inputs[rows])
    np.testing.assert_array_equal(T_BO[:, 0], reference.targets[rows])
    assert values.dtype == T_BO.dtype == dtype


def test_a_single_row_is_not_copied():
    data = sparse()
    rows, _ = data.reader(1, 1, np.dtype(np.float32))(np.array([5]))
    assert np.shares_memory(rows.indices, data.indices)
    assert np.shares_memory(rows.values, data.values)


def test_one_hot_targets_and_values():
    _, T_BO = sparse().reader(3, 2, WIDE)(slice(1, 4))
    np.testing.assert_array_equal(T_BO, np.eye(2)[sparse().targets[1:4]])
    _, T_BO = sparse(classes=0).reader(3, 1, WIDE)(np.array([4, 2]))
    np.testing.assert_array_equal(T_BO, sparse(classes=0).targets[[4, 2]])


@pytest.mark.parametrize("rows", [np.array([60]), np.array([-1]), np.array([1, -1]), np.array([1, 60])], ids=str)
def test_rows_out_of_range_are_errors(rows):
    with pytest.raises(IndexError, match="of a dataset of 60 examples"):
        sparse().reader(2, 1, WIDE)(rows)


@pytest.mark.parametrize("binary", [True, False])
@pytest.mark.parametrize("rows", [np.array([9, 0, 3]), slice(5, 20), slice(None, None, 7)], ids=str)
def test_take(binary, rows):
    data = sparse(binary=binary, scale=0.5)
    taken = data.take(rows)
    np.testing.assert_array_equal(dense(taken).inputs, dense(data).inputs[rows])
    np.testing.assert_array_equal(taken.targets, data.targets[rows])
    assert (taken.scale, taken.classes, taken.features) == (0.5, 2, FEATURES)


def test_validation_is_held_out_of_sparse_data():
    train, validation = hold_out(sparse(), 0.1, seed=3)
    assert (len(train), len(validation)) == (54, 6)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"indptr": np.arange(4)}, "indptr ends at 3"),
        ({"indptr": np.arange(4, dtype=np.int32)}, "expected int64"),
        ({"indptr": np.array([0, 2, 1, 4])}, "never fall"),
        ({"indices": np.array([0, 1, 2, 5], np.int32)}, "expected 0 to 4 for 5 features"),
        ({"indices": np.array([0, 1, -2, 3], np.int32)}, "indices lie in -2 to 3"),
        ({"targets": np.array([0, 1])}, "3 rows of inputs but 2 targets"),
        ({"targets": np.array([0, 1, 2])}, "row 2 has the label 2"),
        ({"scale": 0.0}, "scale of the inputs is 0.0"),
    ],
)
def test_arrays_that_do_not_fit_are_refused(change, said):
    good = SparseDataset(np.array([0, 2, 3, 4]), np.array([0, 1, 2, 3], np.int32), None, np.array([0, 1, 1]), 2, 5)
    with pytest.raises(DataError, match=said):
        replace(good, **change)


# --- generated data


def made(examples: int, features: int, active: int, classes: int, seed: int) -> tuple[SparseDataset, SparseDataset]:
    return synthetic_sparse(
        SyntheticSparse(examples=examples, features=features, active=active, classes=classes, seed=seed)
    )


def test_generated_data_have_the_given_shape():
    train, test = made(1100, 5000, 30, 2, 1)
    assert (len(train), len(test), train.features, train.values) == (1100, 183, 5000, None)
    rows = train.indices.reshape(1100, 30)
    assert (np.diff(rows, axis=1) > 0).all()
    np.testing.assert_allclose(np.linalg.norm(dense(train).inputs, axis=1), 1.0)
    assert 0.35 < train.targets.mean() < 0.65
    again, _ = made(1100, 5000, 30, 2, 1)
    np.testing.assert_array_equal(again.indices, train.indices)
    fewer, _ = made(600, 5000, 30, 2, 1)
    np.testing.assert_array_equal(fewer.indices[: 512 * 30], train.indices[: 512 * 30])
    other, _ = made(1100, 5000, 30, 2, 2)
    assert (other.indices != train.indices).any()
    signs, _ = made(1100, 5000, 30, 0, 1)
    np.testing.assert_array_equal(signs.targets[:, 0], 2.0 * train.targets - 1.0)


def test_every_feature_of_a_narrow_problem_is_used():
    settings = SyntheticSparse(examples=200, features=6, active=6, unit_length=False)
    train, _ = synthetic_sparse(settings)
    np.testing.assert_array_equal(dense(train).inputs, 1.0)


def test_active_features_are_limited_to_the_existing_ones():
    with pytest.raises(UsageError, match=r"data\.features is 3; expected at least data\.active = 4"):
        made(9, 3, 4, 2, 0)
