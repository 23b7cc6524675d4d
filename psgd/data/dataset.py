"""One split of the data as two arrays, and how rows of it become a batch.

Shapes: N examples, F features, B rows of a batch, O outputs.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol, final

import numpy as np

from psgd.backends.backend import Backend
from psgd.backends.numpy.backend import NUMPY
from psgd.core.errors import DataError

Reader = Callable[[np.ndarray | slice], tuple[Any, np.ndarray]]  # rows -> (X, T_BO), which the next call overwrites

# Elements of inputs that one call gathers, if batches are small: 256 KiB of float32. More calls cost time, larger reads
# drive the batches out of the cache.
GATHERED_ELEMENTS = 65536


@final
@dataclass(frozen=True, eq=False)
class Dataset:
    """Examples of one split, kept as stored: bytes stay bytes until gathered.

    inputs (N, F), uint8 or floating; targets (N,) int64 labels in [0, classes), or (N, O) floating if classes is 0
    (regression); scale multiplies the inputs when they are gathered. DataError unless all that holds.
    """

    inputs: np.ndarray
    targets: np.ndarray
    classes: int
    scale: float = 1.0

    def __post_init__(self) -> None:
        _check_inputs(self.inputs, self.scale)
        if self.classes == 0:
            _check_regression(self.targets)
        else:
            _check_labels(self.targets, self.classes)
        if len(self.inputs) != len(self.targets):
            raise DataError(f"{len(self.inputs)} rows of inputs but {len(self.targets)} targets; each row needs one")
        # np.take copies a whole array that is not contiguous, on every call: copy it once instead.
        object.__setattr__(self, "inputs", np.ascontiguousarray(self.inputs))
        object.__setattr__(self, "targets", np.ascontiguousarray(self.targets))

    def __len__(self) -> int:
        return len(self.inputs)

    @property
    def features(self) -> int:
        """Columns of the inputs."""
        return int(self.inputs.shape[1])

    @property
    def outputs(self) -> int:
        """The number of classes (2 for two classes), or the columns of the targets in regression."""
        return self.classes or int(self.targets.shape[1])

    def gather(self, rows: np.ndarray | slice, X_BI: np.ndarray, T_BO: np.ndarray, backend: Backend = NUMPY) -> None:
        """Write the inputs of `rows` (B integers, or a slice) times the scale into X_BI, behind them a column of ones,
        of which the biases are the weights, and their targets into T_BO.

        Labels become one-hot rows, or stay 0 and 1 where two classes meet a single output column. The bits depend only
        on the rows and the dtype of the buffers (float32 or float64). IndexError and ValueError: the caller's mistake.
        """
        if isinstance(rows, slice):
            count = len(range(*rows.indices(len(self))))
        else:
            count = len(rows)
            # numpy would count negative ones from the end; as unsigned integers they are too large.
            if count and rows.astype(np.uint64).max() >= len(self):
                raise IndexError(f"rows {rows.min()}..{rows.max()} of a dataset of {len(self)} examples")
        binary = self.classes == 2 and T_BO.shape[1] == 1
        needed = (count, self.features + 1), (count, 1 if binary else self.outputs)
        if (X_BI.shape, T_BO.shape) != needed:  # numpy would broadcast a single row or column
            raise ValueError(f"buffers have shapes {X_BI.shape} and {T_BO.shape}; these rows need {needed}")
        backend.gather(self.inputs, rows, self.scale, X_BI)
        if self.classes == 0:
            np.copyto(T_BO, self.targets[rows], casting="same_kind")
        elif binary:
            T_BO[:, 0] = self.targets[rows]
        else:
            T_BO.fill(0)
            T_BO[np.arange(count), self.targets[rows]] = 1

    def batches_per_read(self, batch: int) -> int:
        """As many small batches as make a call cheap beside its copying and stay in the cache."""
        return max(1, min(64, GATHERED_ELEMENTS // (batch * self.features)))

    def reader(self, examples: int, outputs: int, dtype: np.dtype, backend: Backend = NUMPY) -> Reader:
        """A reader of up to `examples` rows at a time into buffers of its own, with `outputs` columns of targets."""
        X_BI, T_BO = np.ones((examples, self.features + 1), dtype), np.empty((examples, outputs), dtype)

        def read(rows: np.ndarray | slice) -> tuple[np.ndarray, np.ndarray]:
            count = rows.stop - rows.start if isinstance(rows, slice) else len(rows)
            self.gather(rows, X_BI[:count], T_BO[:count], backend)
            return X_BI[:count], T_BO[:count]

        return read

    def take(self, rows: np.ndarray | slice) -> "Dataset":
        """A new dataset with a copy of `rows`, in their order."""
        inputs, targets = self.inputs[rows], self.targets[rows]
        if isinstance(rows, slice):
            inputs, targets = inputs.copy(), targets.copy()
        return Dataset(inputs, targets, self.classes, self.scale)


class Examples(Protocol):
    """One split, dense or sparse."""

    @property
    def classes(self) -> int:
        """0 = regression."""
        ...

    @property
    def features(self) -> int: ...

    @property
    def outputs(self) -> int: ...

    def __len__(self) -> int: ...

    def batches_per_read(self, batch: int) -> int:
        """How many batches to read by one call, as slices of its rows."""
        ...

    def reader(self, examples: int, outputs: int, dtype: np.dtype, backend: Backend = NUMPY) -> Reader: ...

    def take(self, rows: np.ndarray | slice) -> "Examples": ...


class Data(NamedTuple):
    """All splits of a run."""

    train: Examples
    test: Examples | None
    validation: Examples | None
    note: str  # one line for people: where they came from
    preparation: dict[str, Any] = {}  # how new inputs are to be made like these; plain JSON, saved with the model


def _check_inputs(inputs: np.ndarray, scale: float) -> None:
    if inputs.ndim != 2 or 0 in inputs.shape:
        raise DataError(f"inputs have shape {inputs.shape}; expected (examples, features), at least one of each")
    if inputs.dtype != np.uint8 and not np.issubdtype(inputs.dtype, np.floating):
        raise DataError(f"inputs are {inputs.dtype}; expected uint8 or floating numbers, so convert them first")
    if not (math.isfinite(scale) and scale > 0):
        raise DataError(f"the scale of the inputs is {scale}; expected a finite number above 0")


def _check_regression(targets: np.ndarray) -> None:
    if targets.ndim != 2 or 0 in targets.shape or not np.issubdtype(targets.dtype, np.floating):
        raise DataError(
            f"targets for regression are {targets.dtype} of shape {targets.shape}; "
            "expected floating numbers of shape (examples, outputs)"
        )


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
