"""Data sets from NumPy files. Memory-mapped arrays may be larger than memory: only the rows of batches are read."""

import math
import os
from pathlib import Path
from typing import final

import numpy as np

from psgd.backends.backend import Backend
from psgd.backends.numpy.backend import NUMPY
from psgd.config.settings import Npz
from psgd.core.errors import DataError, UsageError
from psgd.core.memory import check_fits, memory_bytes
from psgd.data.dataset import Data, Dataset, Examples, Reader
from psgd.data.read_ahead import read_ahead_of
from psgd.data.sampling.shuffle import PIECES
from psgd.data.sources.array_files import Arrays, Named, check_finite, find_part, read_numpy_file
from psgd.data.sources.labels import class_indices, learn_classes, values_of


@final
class Selected:
    """The `rows` (N,) int64 of `base`, copied only into batches. If `piece` is set, a mapped file is read ahead in
    pieces of so many rows, for access in random order."""

    def __init__(self, base: Dataset, rows: np.ndarray, piece: int | None = None) -> None:
        self.base, self.rows, self.piece = base, rows, piece
        self.classes, self.features, self.outputs = base.classes, base.features, base.outputs

    def __len__(self) -> int:
        return len(self.rows)

    def batches_per_read(self, batch: int) -> int:
        return self.base.batches_per_read(batch)

    def reader(self, examples: int, outputs: int, dtype: np.dtype, backend: Backend = NUMPY) -> Reader:
        read = self.base.reader(examples, outputs, dtype, backend)
        ahead = read_ahead_of(self.base.inputs, self.piece) if self.piece else None

        def read_selected(rows: np.ndarray | slice) -> tuple[np.ndarray, np.ndarray]:
            wanted = self.rows[rows]
            if ahead:
                ahead(wanted)
            return read(wanted)

        return read_selected

    def take(self, rows: np.ndarray | slice) -> "Selected":
        return Selected(self.base, self.rows[rows], self.piece)


def load_arrays(path: Path, settings: Npz) -> Data:
    """Load the arrays x_train, y_train, x_test and y_test (see `array_files` for other names); or x and y, with test
    arrays beside them, or with the first `train_rows` rows for training. DataError if they do not fit together,
    UsageError if `train_rows` does not."""
    parts = _parts(path, read_numpy_file(path), settings.train_rows)
    X, y = parts[0]
    classes = learn_classes(y) if settings.task == "classification" else []
    scale = settings.scale or (1 / 255 if X.array.dtype == np.uint8 else 1.0)
    shape = list(X.array.shape[1:])
    datasets: list[Examples] = []
    for inputs, targets in parts:
        if list(inputs.array.shape[1:]) != shape:
            raise DataError(f"{inputs.name}: has shape {inputs.array.shape}, but {X.name} {X.array.shape}")
        known = class_indices(targets, classes) if classes else values_of(targets)
        dataset = Dataset(as_matrix(inputs), known, len(classes), scale)
        # When data are split, mapped rows are selected, not copied; arrays in memory are copied: faster to read.
        piece = max(1, settings.window // PIECES) if settings.window else None
        datasets.append(Selected(dataset, np.arange(len(dataset)), piece) if os.path.isdir(path) else dataset)
    if datasets[-1].outputs != datasets[0].outputs:
        raise DataError(f"{parts[-1][1].name}: {datasets[-1].outputs} outputs, in {y.name} {datasets[0].outputs}")
    preparation = {"kind": "scale", "scale": scale, "shape": shape, "classes": classes}
    origin = f"{path}, {X.array.dtype} inputs" + (f" times {scale:g}" if scale != 1 else "")
    if os.path.isdir(path) and not settings.window and X.array.nbytes > memory_bytes():
        origin += " (larger than memory: set data.window, or each example will be waited for)"
    return Data(datasets[0], datasets[1] if len(datasets) > 1 else None, None, origin, preparation)


def as_matrix(X: Named) -> np.ndarray:
    """Convert `X` to (N, F) of uint8 or floating numbers: other integers to float64 if float32 would round one.
    A mapped array stays mapped unless it holds other integers, or is in Fortran order. DataError if it is empty, or
    holds what is not a finite number; UsageError if a copy would not fit in memory."""
    array = X.array
    if array.ndim == 0 or array.size == 0:
        raise DataError(f"{X.name}: has shape {array.shape}; expected (examples, ...), at least one of each")
    if array.dtype.kind not in "biuf":
        raise DataError(f"{X.name}: holds {array.dtype}; expected numbers, so convert them first")
    if not array.flags.c_contiguous:
        what = f"the rows of {X.name}, copied because they are in Fortran order,"
        check_fits(array.nbytes, what, "save them in C order: numpy.save(path, numpy.ascontiguousarray(x))")
    check_finite(X)
    if array.dtype.kind in "biu" and array.dtype != np.uint8:
        narrow = array.astype(np.float32)
        array = narrow if np.array_equal(narrow, array) else array.astype(np.float64)
    return array.reshape(len(array), math.prod(array.shape[1:]))


def _parts(path: Path, arrays: Arrays, rows: int | None) -> list[tuple[Named, Named]]:
    """Return (inputs, targets) of the training part, and of the test part if there is one."""
    found = {part: find_part(path, arrays, part) for part in ("", "train", "test")}
    whole = {part: (both[0], both[1]) for part, both in found.items() if both and both[1]}
    if "train" in whole:
        if rows:
            raise UsageError(f"data.train_rows is {rows}, but {path} says itself what is for training; leave it out")
        return [whole[part] for part in ("train", "test") if part in whole]
    if "" not in whole:
        raise DataError(
            f"{path}: expected arrays x_train and y_train (and x_test, y_test), or x and y; "
            f"it holds {', '.join(arrays)}"
        )
    X, y = whole[""]
    if "test" in whole and rows:
        raise UsageError(f"data.train_rows is {rows}, but {path} has test arrays; leave it out")
    if rows is None:
        return [whole[part] for part in ("", "test") if part in whole]
    if rows >= len(X.array):
        raise UsageError(f"data.train_rows is {rows}, but {X.name} has {len(X.array)} rows; leave some to test on")
    return [(Named(X.name, X.array[s]), Named(y.name, y.array[s])) for s in (slice(0, rows), slice(rows, None))]
