"""Data sets of a user's own two arrays, neither converted nor scaled, with any dimensions after the first."""

from dataclasses import dataclass
from typing import Any, final

import numpy as np

from psgd.backends.backend import Backend
from psgd.backends.numpy.backend import NUMPY
from psgd.core.errors import DataError
from psgd.data.dataset import Reader


@final
@dataclass(frozen=True, eq=False)
class UserArrays:
    """X (N, ...) and y (N, ...), of any dtype. `classes` is 1 where an accuracy can be computed, else 0."""

    X: np.ndarray
    y: np.ndarray
    classes: int = 0

    def __len__(self) -> int:
        return len(self.X)

    @property
    def features(self) -> int:
        return int(np.prod(self.X.shape[1:]))

    @property
    def outputs(self) -> int:
        return int(np.prod(self.y.shape[1:]))

    def batches_per_read(self, batch: int) -> int:
        return 1

    def reader(self, examples: int, outputs: int, dtype: np.dtype, backend: Backend = NUMPY) -> Reader:
        """Return a reader that copies, because a user's function may change or keep its arguments."""
        del examples, outputs, dtype, backend

        def read(rows: np.ndarray | slice) -> tuple[np.ndarray, np.ndarray]:
            if isinstance(rows, slice):
                return self.X[rows].copy(), self.y[rows].copy()
            return _picked(self.X, rows), _picked(self.y, rows)

        return read

    def take(self, rows: np.ndarray | slice) -> "UserArrays":
        X, y = self.X[rows], self.y[rows]  # copies, but for slices
        if isinstance(rows, slice):
            X, y = X.copy(), y.copy()
        return UserArrays(X, y, self.classes)


def _picked(array: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """Return `rows`, as a copy in the order of C. `take` is faster, but first copies the whole of an array that has
    another order, such as that of a DataFrame."""
    return array.take(rows, axis=0) if array.flags.c_contiguous else np.ascontiguousarray(array[rows])


def as_user_arrays(pair: Any, name: str, classes: int) -> UserArrays:
    """Convert a pair (X, y), which messages call `name`. DataError unless both are arrays of equally many rows. scipy
    is not imported: its sparse arrays are recognised by `tocsr`."""
    if not isinstance(pair, tuple | list) or len(pair) != 2:
        raise DataError(f"{name} is {type(pair).__name__}; it must be a pair (X, y) of arrays with a row an example")
    for given, letter in zip(pair, "Xy", strict=True):
        if hasattr(given, "tocsr"):
            raise DataError(
                f"{letter} of {name} is {type(given).__name__}, and psgd.fit does not take sparse rows; give "
                f"{letter}.toarray(), or train a linear model by psgd.sklearn, or by psgd train on libsvm data"
            )
        check_unmasked(given, letter, f"{letter} of {name}")
    X, y = np.asarray(pair[0]), np.asarray(pair[1])
    for array, letter in ((X, "X"), (y, "y")):
        if array.ndim == 0:
            given = type(pair[letter == "y"]).__name__
            raise DataError(f"{letter} of {name} is {given} without rows; it must be an array with a row an example")
    if len(X) != len(y) or not len(X):
        hint = ""
        if X.ndim == 2 and X.shape[1] == y.shape[-1] > len(X):
            turned = f"(X.T, y{'.T' * (y.ndim == 2)})"
            hint = (
                f". The {X.shape[1]} columns of X seem to be the examples: give {turned}, and let your functions "
                "transpose the rows that they get"
            )
        raise DataError(f"{name} has {len(X)} rows of X and {len(y)} of y; each example needs one of both{hint}")
    return UserArrays(X, y, classes)


def check_unmasked(given: Any, letter: str, name: str) -> None:
    """DataError if values are masked: numpy drops the mask quietly, and what lies under it would count."""
    if isinstance(given, np.ma.MaskedArray) and (masked := np.count_nonzero(given.mask)):
        raise DataError(
            f"{name} has {masked} masked values, and psgd knows no masks; give {letter}.filled(value), or leave those "
            "rows out"
        )
