"""Dense data sets and what every data set offers. Samplers choose the rows of a batch; data sets read them.

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
from psgd.data.targets import check_targets, is_binary, write_targets

Reader = Callable[[np.ndarray | slice], tuple[Any, np.ndarray]]  # rows -> (X, T_BO); the next call overwrites both

READ_ELEMENTS = 65536  # input elements of one read; raised, there are fewer calls, but a read may not fit the L2 cache


@final
@dataclass(frozen=True, eq=False)
class Dataset:
    """Examples in memory or in a mapped file, as they are stored: bytes become floats when they are gathered.

    inputs (N, F), uint8 or floating; targets (N,) int64 labels in [0, classes), or (N, O) floating if classes is 0
    (regression); scale multiplies the inputs when they are gathered. DataError if these do not fit together.
    """

    inputs: np.ndarray
    targets: np.ndarray
    classes: int
    scale: float = 1.0

    def __post_init__(self) -> None:
        inputs = self.inputs
        if inputs.ndim != 2 or 0 in inputs.shape:
            raise DataError(f"inputs have shape {inputs.shape}; expected (examples, features), at least one of each")
        if inputs.dtype != np.uint8 and not np.issubdtype(inputs.dtype, np.floating):
            raise DataError(f"inputs are {inputs.dtype}; expected uint8 or floating numbers, so convert them first")
        check_scale(self.scale)
        check_targets(self.targets, self.classes, len(self.inputs))
        # np.take copies a whole array that is not contiguous, on every call: copy it once instead.
        object.__setattr__(self, "inputs", np.ascontiguousarray(inputs))
        object.__setattr__(self, "targets", np.ascontiguousarray(self.targets))

    def __len__(self) -> int:
        return len(self.inputs)

    @property
    def features(self) -> int:
        return int(self.inputs.shape[1])

    @property
    def outputs(self) -> int:
        return self.classes or int(self.targets.shape[1])

    def gather(self, rows: np.ndarray | slice, X_BI: np.ndarray, T_BO: np.ndarray, backend: Backend = NUMPY) -> None:
        """Write the inputs of `rows` (B integers, or a slice) times the scale to X_BI (B, F + 1), ones to its last
        column (whose weights are the biases), and the targets to T_BO as `write_targets` does.

        The bits depend only on the rows and the dtype of the buffers (float32 or float64). IndexError for rows that do
        not exist, ValueError for buffers of another shape.
        """
        # numpy counts negative rows from the end; as unsigned numbers they are too large.
        if not isinstance(rows, slice) and len(rows) and rows.astype(np.uint64).max() >= len(self):
            raise IndexError(f"rows {rows.min()}..{rows.max()} of a dataset of {len(self)} examples")
        targets = self.targets[rows]
        needed = (
            (len(targets), self.features + 1),
            (len(targets), 1 if is_binary(self.classes, T_BO.shape[1]) else self.outputs),
        )
        if (X_BI.shape, T_BO.shape) != needed:  # numpy would broadcast a single row or column
            raise ValueError(f"buffers have shapes {X_BI.shape} and {T_BO.shape}; these rows need {needed}")
        backend.gather(self.inputs, rows, self.scale, X_BI)
        write_targets(targets, self.classes, T_BO)

    def batches_per_read(self, batch: int) -> int:
        # Enough that the overhead of a call is small beside copying, but no more than fit the cache.
        return max(1, min(64, READ_ELEMENTS // (batch * self.features)))

    def reader(self, examples: int, outputs: int, dtype: np.dtype, backend: Backend = NUMPY) -> Reader:
        X_BI, T_BO = np.ones((examples, self.features + 1), dtype), np.empty((examples, outputs), dtype)

        def read(rows: np.ndarray | slice) -> tuple[np.ndarray, np.ndarray]:
            count = rows.stop - rows.start if isinstance(rows, slice) else len(rows)
            self.gather(rows, X_BI[:count], T_BO[:count], backend)
            return X_BI[:count], T_BO[:count]

        return read

    def take(self, rows: np.ndarray | slice) -> "Dataset":
        inputs, targets = self.inputs[rows], self.targets[rows]
        if isinstance(rows, slice):
            inputs, targets = inputs.copy(), targets.copy()
        return Dataset(inputs, targets, self.classes, self.scale)


class Examples(Protocol):
    """A data set: dense, sparse, or a user's own arrays."""

    @property
    def classes(self) -> int:
        """The number of classes; 0 for regression."""
        ...

    @property
    def features(self) -> int: ...

    @property
    def outputs(self) -> int:
        """The number of classes, or of the targets' columns in regression."""
        ...

    def __len__(self) -> int: ...

    def batches_per_read(self, batch: int) -> int:
        """How many batches of `batch` rows to read by one call. 1 if what a reader returns cannot be cut."""
        ...

    def reader(self, examples: int, outputs: int, dtype: np.dtype, backend: Backend = NUMPY) -> Reader:
        """Return a reader of up to `examples` rows, with `outputs` columns of targets, with buffers of its own."""
        ...

    def take(self, rows: np.ndarray | slice) -> "Examples":
        """Return a new data set of `rows`, in their order."""
        ...


class Data(NamedTuple):
    """The parts of a run's data."""

    train: Examples
    test: Examples | None
    validation: Examples | None
    note: str  # one line for people: where the data came from, and how many examples there are
    preparation: dict[str, Any] = {}  # how to prepare new inputs in the same way: plain JSON, saved with the model

    @property
    def scored(self) -> dict[str, Examples]:
        """The parts that evaluations score, by name."""
        parts = {"validation": self.validation, "test": self.test}
        return {name: part for name, part in parts.items() if part}


def check_scale(scale: float) -> None:
    """Raise DataError unless `scale` is a finite number above 0."""
    if not (math.isfinite(scale) and scale > 0):
        raise DataError(f"the scale of the inputs is {scale}; expected a finite number above 0")
