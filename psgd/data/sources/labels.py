"""Converts an array of targets to class numbers, or to the values of a regression."""

from collections.abc import Sequence

import numpy as np

from psgd.core.errors import DataError
from psgd.core.wording import first_names
from psgd.data.sources.array_files import Named, fits_float32


def learn_classes(y: Named) -> list[int] | list[str]:
    """Return the classes in training labels, sorted; of one-hot rows, a class for each column. Whole numbers from 0
    with few gaps are taken as class numbers: the gaps become classes, too. DataError if there are fewer than two."""
    classes = np.unique(_labels(y)).tolist()
    if len(classes) < 2:
        raise DataError(f"{y.name}: all labels are {classes[0]!r}; classification needs two classes at least")
    if _one_hot(y.array):
        return list(range(y.array.shape[1]))
    integers = [label for label in classes if isinstance(label, int)]
    if integers and integers[0] == 0 and integers[-1] < 2 * len(integers):
        return list(range(integers[-1] + 1))
    return classes  # type: ignore[no-any-return]


def class_indices(y: Named, classes: Sequence[int | str]) -> np.ndarray:
    """Return the index in `classes` of each label (N,) int64. DataError names the row of an unknown label."""
    labels, known = _labels(y), np.array(classes)
    if labels.dtype.kind != known.dtype.kind:
        labels = labels.astype(str)
        known = known.astype(str)
    order = np.argsort(known)
    places: np.ndarray = order[np.searchsorted(known, labels, sorter=order).clip(0, len(known) - 1)]
    wrong = np.flatnonzero(known[places] != labels)
    if len(wrong):
        label = labels[wrong[0]].item()
        raise DataError(f"{y.name}: row {wrong[0]} has the label {label!r}, which is none of {first_names(classes)}")
    return places


def values_of(y: Named) -> np.ndarray:
    """Return the targets of a regression, (N, O) floating. DataError if they are not finite numbers."""
    array = y.array.reshape(len(y.array), -1) if y.array.ndim else y.array
    if array.dtype.kind in "biu":
        array = array.astype(np.float64)
    if array.dtype.kind != "f" or array.size == 0:
        raise DataError(f"{y.name}: holds {y.array.dtype} of shape {y.array.shape}; regression needs numbers")
    wrong = np.flatnonzero(~fits_float32(array).all(axis=1))
    if len(wrong):
        raise DataError(f"{y.name}: row {wrong[0]} is not finite in float32; correct it, scale all or remove it")
    return array


def _labels(y: Named) -> np.ndarray:
    """Return labels (N,) as int64 or text; one-hot rows become numbers. DataError if `y` holds no labels."""
    array = y.array
    if array.ndim == 2 and array.shape[1] == 1:
        array = array[:, 0]
    if _one_hot(array):
        places: np.ndarray = array.argmax(axis=1)
        return places
    if array.ndim != 1 or len(array) == 0:
        raise DataError(f"{y.name}: has shape {array.shape}; expected a label for each example, or one-hot rows")
    if array.dtype.kind == "S":
        try:
            array = np.char.decode(array, "utf-8")
        except UnicodeDecodeError as error:  # with a sign in place of such letters, classes would become one
            what = f"holds a label that is not UTF-8, {error.object!r}"
            raise DataError(f"{y.name}: {what}; save labels as text, np.char.decode(labels, 'latin-1')") from None
    if array.dtype.kind == "U":
        return array
    if array.dtype.kind not in "biuf":
        raise DataError(f"{y.name}: holds {array.dtype}; labels are whole numbers or text")
    wrong = np.flatnonzero(~np.isfinite(array) | (array != np.round(array)))
    if len(wrong):
        raise DataError(
            f"{y.name}: row {wrong[0]} holds {array[wrong[0]].item()!r}; labels are whole numbers or text "
            "(for values set data.task: regression)"
        )
    wrong = np.flatnonzero(_beyond_int64(array))
    if len(wrong):
        label = array[wrong[0]].item()
        raise DataError(f"{y.name}: row {wrong[0]} holds {label!r}, which is beyond int64; write such labels as text")
    return array.astype(np.int64)


def _beyond_int64(array: np.ndarray) -> np.ndarray:
    if array.dtype.kind == "f":
        return np.abs(array.astype(np.float64)) >= 2.0**63
    beyond: np.ndarray = array > np.uint64(2**63 - 1) if array.dtype.kind == "u" else np.zeros(len(array), bool)
    return beyond


def _one_hot(array: np.ndarray) -> bool:
    """Whether each row of numbers is a 1 among zeros, in two columns or more."""
    if array.ndim != 2 or array.shape[1] < 2 or not len(array) or array.dtype.kind not in "biuf":
        return False
    return bool(((array == 0) | (array == 1)).all() and (array.sum(axis=1) == 1).all())
