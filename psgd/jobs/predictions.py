"""Reads new data for a trained model, writes its predictions as CSV, and compares them with the right answers."""

import csv
import io
import os
import sys
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple, TextIO

import numpy as np

from psgd.config.settings import Libsvm
from psgd.config.shipped import configs
from psgd.core.errors import DataError, StorageError
from psgd.core.files import write_atomically
from psgd.core.wording import first_names
from psgd.data.sources.array_files import Named, find_part, holds_arrays, read_numpy_file
from psgd.data.sources.csv_rows import read_header, read_table
from psgd.data.sources.csv_table import class_indices_in, collectors_of
from psgd.data.sources.idx import read_idx
from psgd.data.sources.labels import class_indices, values_of
from psgd.data.sources.libsvm import read_new_examples
from psgd.data.sources.preparation import PreparedInputs, prepare
from psgd.learners.model import Model


class NewData(NamedTuple):
    """Inputs to predict from, and the right answers if the data contain them."""

    prepared: PreparedInputs
    truth: np.ndarray | None  # (N,) indices of classes, -1 where unknown; (N, O) values, nan where unknown


def read_new_data(model: Model, path: Path) -> NewData:
    """Read the data at `path` and prepare them for `model`. DataError if they are missing or do not fit."""
    try:
        path.stat()
    except (FileNotFoundError, NotADirectoryError):
        raise DataError(_absent(model, path)) from None
    except (OSError, ValueError) as error:  # ValueError: a null character in the name
        raise DataError(f"{path}: cannot be read: {getattr(error, 'strerror', error)}") from None
    arrays = holds_arrays(path)
    if model.preparation["kind"] == "table":
        if arrays:
            raise DataError(f"{path}: this model was trained on a table; give a CSV file with its columns")
        return _read_table(model, path)
    if arrays:
        return _read_arrays(model, path)
    if model.sparse:
        return _read_libsvm(model, path)
    if path.name.lower().endswith((".csv", ".tsv", ".txt")):
        raise DataError(f"{path}: this model was trained on arrays; give an npz or npy file, or IDX images")
    return NewData(_fitting(model, Named(str(path), read_idx(path))), None)


def _absent(model: Model, path: Path) -> str:
    """What to say of a path where there is nothing."""
    if model.preparation["kind"] == "table":
        wanted = "a CSV file with the columns that it was trained on"
    else:
        wanted = "an npz or npy file, a directory of npy files, " + (
            "or libsvm text" if model.sparse else "or IDX images"
        )
    if str(path) in configs(comparisons=False):
        scores = "; the scores of a run on the test data of its own config are in its summary.json"
        return f"{path} is the name of a config; DATA is the path of new examples: for this model {wanted}{scores}"
    return f"{path}: there is no such file; DATA is the path of new examples: for this model {wanted}"


def _read_table(model: Model, path: Path) -> NewData:
    separator, target = model.preparation["separator"], model.preparation["target"]["name"]
    answered = target in read_header(path, separator)
    about = {**model.preparation, "classes": model.classes}
    table = read_table(path, separator, collectors_of(about, answered, about["decimal"]))
    truth = None
    if answered:
        truth = table.columns[target].values[:, np.newaxis]
        if model.classes:
            truth = class_indices_in(table, table.columns[target], model.classes, "correct the row or remove it")
    return NewData(prepare(model.preparation["columns"], table.columns), truth)


def _read_libsvm(model: Model, path: Path) -> NewData:
    """Read libsvm text. A label 0 that is no class stands for an unknown answer."""
    about = model.preparation
    settings = Libsvm(
        task="classification" if model.classes else "regression",
        zero_based=about.get("zero_based", False),
        unit_length=about.get("unit", False),
    )
    data, labels, ignored = read_new_examples(path, settings, model.inputs)
    data = replace(data, scale=about.get("scale", 1.0))
    notes = [f"{ignored} entries are ignored: their features are not among the model's"] if ignored else []
    if not model.classes:
        return NewData(PreparedInputs(data, 1.0, [], notes), labels[:, np.newaxis])
    places = {name: place for place, name in enumerate(model.classes)}
    truth = np.array([places.get(label, -1) for label in labels.tolist()])
    wrong = np.flatnonzero((truth < 0) & (labels != 0))
    if len(wrong):
        what = (
            f"example {wrong[0] + 1} has the label {labels[wrong[0]]:g}, which is none of {first_names(model.classes)}"
        )
        raise DataError(f"{path}: {what}; write 0 where the answer is not known")
    return NewData(PreparedInputs(data, 1.0, [], notes), truth)


def _read_arrays(model: Model, path: Path) -> NewData:
    """Read the array x, or else x_test, and its targets if there are any."""
    arrays = read_numpy_file(path)
    found = find_part(path, arrays, "") or find_part(path, arrays, "test")
    if found is None:
        raise DataError(f"{path}: no array named x or x_test to predict from; it holds {', '.join(arrays)}")
    X, y = found
    truth = None if y is None else class_indices(y, model.classes) if model.classes else values_of(y)
    return NewData(_fitting(model, X), truth)


def _fitting(model: Model, X: Named) -> PreparedInputs:
    try:
        return model.prepare(X.array)
    except DataError as error:
        raise DataError(f"{X.name}: {error}") from None


def write_csv(model: Model, outputs: np.ndarray, output: Path | None) -> None:
    """Write predictions, and probabilities if the model gives them, to the file `output`, which is whole or absent, or
    to stdout. StorageError if that fails."""
    decided = model.decide(outputs)
    if decided.ndim == 1:
        header, columns = ["prediction"], [decided]
    else:
        header, columns = [f"prediction_{n}" for n in range(1, decided.shape[1] + 1)], list(decided.T)
    if model.probabilistic:
        header += [f"probability_{name}" for name in model.classes]
        columns += list(model.probabilities(outputs).T)
    if output is None and sys.stdout is None:
        raise StorageError("cannot write to stdout, which is closed; name a file by --output")
    if isinstance(sys.stdout, io.TextIOWrapper):  # CSV files are UTF-8 in any locale
        sys.stdout.reconfigure(encoding="utf-8")

    def write(file: TextIO) -> None:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(header)
        for row in zip(*columns, strict=True):
            writer.writerow([f"{value:.9g}" if isinstance(value, np.float32) else value for value in row])
        file.flush()

    def write_file(path: Path) -> None:
        with open(path, "w", encoding="utf-8", newline="") as file:
            write(file)

    try:
        write_atomically(output, write_file) if output else write(sys.stdout)
    except OSError as error:
        if output is None:  # the reader of a pipe has gone: without this, the flush at exit would fail again
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise StorageError(f"cannot write {output or 'to stdout'}: {error.strerror}") from None


def describe_scores(model: Model, outputs: np.ndarray, truth: np.ndarray) -> str:
    """Describe in one line the accuracy, or the root mean squared error, over the rows with a known answer. DataError
    if the targets have another shape than the predictions."""
    if not model.classes and truth.shape != outputs.shape:
        raise DataError(f"the targets have shape {truth.shape}, the predictions {outputs.shape}")
    known = truth >= 0 if model.classes else np.isfinite(truth).all(axis=1)
    count = int(np.count_nonzero(known))
    if not count:
        text = "no right answers are given"
    elif model.classes:
        right = int(np.count_nonzero(model.class_indices(outputs)[known] == truth[known]))
        text = f"accuracy {right / count:.4f} ({right} of {count})"
    else:
        error = float(np.sqrt(np.mean(np.square(outputs[known] - truth[known]))))
        text = f"root mean squared error {error:.6g} ({count} rows)"
    missing = len(truth) - count
    return text + (f"; {missing} rows without an answer" if missing else "")
