"""Data sets from the arrays of numpy's files. Those that are memory-mapped may be larger than memory."""

import math
import os
from pathlib import Path
from typing import Any

import numpy as np

from psgd.core.errors import DataError, UsageError
from psgd.data.dataset import Dataset, Examples
from psgd.data.sampling.shuffle import PIECES
from psgd.data.selected import Selected
from psgd.data.sources.array_files import Arrays, Named, find_part, read_arrays
from psgd.data.sources.labels import learn_classes, places_of, values_of
from psgd.data.sources.loaded import LoadedData

Part = tuple[Named, Named]  # inputs, targets


def load_arrays(path: Path, settings: dict[str, Any]) -> LoadedData:
    """`settings`: task, scale, train_rows, window. Arrays x_train, y_train, x_test, y_test, under the usual names; or x
    and y, of which the first train_rows are for training."""
    parts = _parts(path, read_arrays(path), settings["train_rows"])
    X, y = parts[0]
    classes = learn_classes(y) if settings["task"] == "classification" else []
    scale = settings["scale"] or (1 / 255 if X.array.dtype == np.uint8 else 1.0)
    shape = list(X.array.shape[1:])
    datasets: list[Examples] = []
    for inputs, targets in parts:
        if list(inputs.array.shape[1:]) != shape:
            raise DataError(f"{inputs.name}: has shape {inputs.array.shape}, but {X.name} {X.array.shape}")
        known = places_of(targets, classes) if classes else values_of(targets)
        dataset = Dataset(as_matrix(inputs), known, len(classes), scale)
        # Parts of a mapped array are selections of its rows, not copies; arrays in memory are read faster as copies.
        piece = max(1, settings["window"] // PIECES) if settings["window"] else None
        datasets.append(Selected(dataset, np.arange(len(dataset)), piece) if os.path.isdir(path) else dataset)
    if datasets[-1].outputs != datasets[0].outputs:
        raise DataError(f"{parts[-1][1].name}: {datasets[-1].outputs} outputs, in {y.name} {datasets[0].outputs}")
    preparation = {"kind": "scale", "scale": scale, "shape": shape, "classes": classes}
    origin = f"{path}, {X.array.dtype} inputs" + (f" times {scale:g}" if scale != 1 else "")
    if os.path.isdir(path) and not settings["window"] and X.array.nbytes > _memory():
        origin += " (larger than memory: set data.window, or each example will be waited for)"
    return LoadedData(datasets[0], datasets[1] if len(datasets) > 1 else None, origin, preparation)


def _memory() -> int:
    """Return the size of this machine's memory in bytes."""
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")


def as_matrix(X: Named) -> np.ndarray:
    """Return inputs as (N, F) bytes or floating numbers. Mapped arrays stay mapped, unless they hold other integers."""
    array = X.array
    if array.ndim == 0 or array.size == 0:
        raise DataError(f"{X.name}: has shape {array.shape}; expected (examples, ...), at least one of each")
    if array.dtype.kind not in "biuf":
        raise DataError(f"{X.name}: holds {array.dtype}; expected numbers, so convert them first")
    if array.dtype.kind in "biu" and array.dtype != np.uint8:
        array = array.astype(np.float32)
    if not array.flags.c_contiguous:
        array = np.ascontiguousarray(array)
    return array.reshape(len(array), math.prod(array.shape[1:]))


def _parts(path: Path, arrays: Arrays, rows: int | None) -> list[Part]:
    """Return the training part and, if there is one, the test part."""
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
    if rows is None:
        return [(X, y)]
    if rows >= len(X.array):
        raise UsageError(f"data.train_rows is {rows}, but {X.name} has {len(X.array)} rows; leave some to test on")
    return [(Named(X.name, X.array[s]), Named(y.name, y.array[s])) for s in (slice(0, rows), slice(rows, None))]
