"""Checks targets and writes them as the columns that a loss compares with a learner's outputs."""

import numpy as np

from psgd.core.errors import DataError


def check_targets(targets: np.ndarray, classes: int, examples: int) -> None:
    """Raise DataError unless `targets` are int64 labels (examples,) in [0, classes), or floating numbers (examples, O)
    if `classes` is 0 (regression)."""
    if classes:
        _check_labels(targets, classes)
    elif targets.ndim != 2 or 0 in targets.shape or not np.issubdtype(targets.dtype, np.floating):
        raise DataError(
            f"targets for regression are {targets.dtype} of shape {targets.shape}; "
            "expected floating numbers of shape (examples, outputs)"
        )
    if len(targets) != examples:
        raise DataError(f"{examples} rows of inputs but {len(targets)} targets; each row needs one")


def is_binary(classes: int, columns: int) -> bool:
    """Whether targets are labels 0 and 1 in a single column, instead of one-hot rows."""
    return classes == 2 and columns == 1


def write_targets(targets: np.ndarray, classes: int, T_BO: np.ndarray) -> None:
    """Write the targets of B examples into T_BO: numbers as they are, labels as one-hot rows or as 0 and 1."""
    if classes == 0:
        np.copyto(T_BO, targets, casting="same_kind")
    elif is_binary(classes, T_BO.shape[1]):
        T_BO[:, 0] = targets
    else:
        T_BO.fill(0)
        T_BO[np.arange(len(targets)), targets] = 1


def _check_labels(labels: np.ndarray, classes: int) -> None:
    if classes < 2:
        raise DataError(f"the number of classes is {classes}; expected at least 2, or 0 for regression")
    if labels.ndim != 1 or labels.dtype != np.int64:
        raise DataError(f"labels are {labels.dtype} of shape {labels.shape}; expected int64 of shape (examples,)")
    wrong = np.flatnonzero((labels < 0) | (labels >= classes))
    if len(wrong):
        raise DataError(
            f"row {wrong[0]} has the label {labels[wrong[0]]}; expected 0 to {classes - 1} for {classes} classes"
        )
