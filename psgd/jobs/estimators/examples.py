"""Makes a data set of checked inputs, dense or sparse, and their targets."""

from typing import Any

import numpy as np

from psgd.config.settings import Settings
from psgd.core.errors import UsageError
from psgd.data.dataset import Data, Dataset, Examples
from psgd.data.sparse import SparseDataset
from psgd.data.sparse_as_dense import SparseAsDense
from psgd.data.split import hold_out


def data_of(settings: Settings, X: Any, targets: np.ndarray, classes: int) -> Data:
    """Return the training data, and validation data if the settings hold some out. `X`: (N, F), an array or scipy's
    sparse rows, which stay sparse for a linear model with one output. DataError or UsageError if they do not fit."""
    train: Examples = _sparse(settings, X, targets, classes) if hasattr(X, "tocsr") else Dataset(X, targets, classes)
    validation = None
    if settings.data.validation:
        if len(train) < 2:
            raise UsageError("early_stopping holds out a part of the samples, but n_samples = 1")
        train, validation = hold_out(train, settings.data.validation, settings.training.seed)
    return Data(train, None, validation, f"{len(train)} training examples")


def _sparse(settings: Settings, X: Any, targets: np.ndarray, classes: int) -> Examples:
    rows = X.tocsr()
    if not rows.has_canonical_format:
        rows = rows.copy()  # the caller's stay as they are
        rows.sum_duplicates()
    indptr, features = rows.indptr.astype(np.int64), X.shape[1]
    one_output = targets.shape[1] == 1 if classes == 0 else settings.model.loss in ("binary-cross-entropy", "hinge")
    if not settings.model.hidden and one_output and classes <= 2 and settings.training.precision == "float32":
        indices, values = rows.indices.astype(np.int32), rows.data.astype(np.float32)
        return SparseDataset(indptr, indices, values, targets, classes, features)
    return SparseAsDense(indptr, rows.indices, rows.data, targets, classes, features)
