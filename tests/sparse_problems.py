"""Sparse data, and the same as dense arrays."""

import numpy as np

from psgd.data.dataset import Dataset
from psgd.data.sparse import SparseDataset

FEATURES = 40
WIDE = np.dtype(np.float64)


def sparse(examples: int = 60, classes: int = 2, binary: bool = False, scale: float = 1.0) -> SparseDataset:
    """Rows of 0 to 9 features, the first row and the last empty."""
    draw = np.random.default_rng(5)
    rows = [np.sort(draw.choice(FEATURES, draw.integers(1, 10), replace=False)) for _ in range(examples)]
    rows[0] = rows[-1] = np.empty(0, np.int64)
    indptr = np.cumsum([0, *map(len, rows)])
    values = None if binary else draw.normal(size=indptr[-1]).astype(np.float32)
    targets = draw.integers(0, 2, examples) if classes else draw.normal(size=(examples, 1)).astype(np.float32)
    return SparseDataset(indptr, np.concatenate(rows).astype(np.int32), values, targets, classes, FEATURES, scale)


def dense(data: SparseDataset) -> Dataset:
    """The same examples, in float64 to be as exact as the sparse ones."""
    inputs = np.zeros((len(data), data.features))
    for row in range(len(data)):
        where = slice(data.indptr[row], data.indptr[row + 1])
        inputs[row, data.indices[where]] = 1.0 if data.values is None else data.values[where]
    return Dataset(inputs * data.scale, data.targets, data.classes)


def assert_near(a, b):
    assert np.linalg.norm(np.subtract(a, b)) <= 1e-12 * np.linalg.norm(b)
