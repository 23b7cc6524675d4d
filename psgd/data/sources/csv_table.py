"""Data sets from CSV files: some named columns are the inputs, and one is the target."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from psgd.config.settings import Csv
from psgd.core.errors import DataError, UsageError
from psgd.core.wording import counted, first_names
from psgd.data.dataset import Data, Dataset
from psgd.data.sources.array_files import fits_float32
from psgd.data.sources.column import Collector, Column
from psgd.data.sources.csv_rows import Table, read_header, read_table
from psgd.data.sources.preparation import input_names, learn_column, prepare, standardization
from psgd.data.sources.spelling import whole
from psgd.data.split import held_out

ClassNames = Sequence[int | str]

FEW_ROWS = 20  # with more, a column of text or a target of which most values differ is not taken for categories
LABELS = (  # what to do about a label that no training row has
    "correct the row, or name all labels in data.labels; if these are quantities, data.task is regression"
)


def load_table(path: Path, test_path: Path | None, settings: Csv, seed: int) -> Data:
    """Load training rows from `path`, and test rows from `test_path` or after the first `train_rows` of `path`. The
    preparation of the inputs is learnt from the training rows, without those that `seed` sets aside for validation."""
    separator, target = settings.separator, settings.target
    assert target is not None, "checked with the settings"
    # A column without a name holds row numbers, from which nothing is to be learnt.
    names = settings.columns or [name for name in read_header(path, separator) if name not in (target, "")]
    _check_names(names, settings)
    decimal, categorical = settings.decimal, set(settings.categorical)
    collectors = [Collector(name, False if name in categorical else None, decimal=decimal) for name in names]
    targets = Collector(target, settings.task == "regression", settings.labels or (), decimal)
    table = read_table(path, separator, [*collectors, targets])
    if settings.columns is None:
        _check_categories(table, names)
    count, fraction = settings.train_rows or len(table.lines), settings.validation
    if settings.train_rows and count >= len(table.lines):
        raise UsageError(f"data.train_rows is {count}, but {path} has {len(table.lines)} rows; leave some to test on")
    rows = held_out(count, fraction, seed)[0] if fraction else np.arange(count)
    preparation = _learn(table, names, table.columns[target], rows, settings)
    whole = _dataset(table, preparation)
    train, test = whole, None
    if count < len(whole):
        train, test = whole.take(slice(0, count)), whole.take(slice(count, None))
    if test_path:
        test = _dataset(read_table(test_path, separator, collectors_of(preparation, True, decimal)), preparation)
    return Data(train, test, None, f"{path}, {_note(table, preparation, whole.features)}", preparation)


def collectors_of(preparation: Mapping[str, Any], target: bool, decimal: str = "point") -> list[Collector]:
    """Return collectors for a model's input columns, and for the target if `target`, of the kinds it was trained on.
    `decimal`: what numbers have before the decimals; files may differ in it from arrays of Python."""
    about, classes = preparation["columns"], preparation["classes"] if target else ()
    collectors = [Collector(column["name"], column["kind"] == "number", decimal=decimal) for column in about]
    if target:
        collectors.append(Collector(preparation["target"]["name"], not classes, classes, decimal))
    return collectors


def class_indices_in(table: Table, column: Column, classes: Sequence[int | str], advice: str) -> np.ndarray:
    """Return the index in `classes` of each label (N,) int64, -1 where it is missing. DataError names the line of an
    unknown label, and ends with `advice`."""
    places = {whole(str(name)): place for place, name in enumerate(classes)}
    known = np.array([places.get(whole(text), -2) for text in column.texts or ()] + [-1], np.int64)
    labels: np.ndarray = known[np.where(column.missing, len(known) - 1, column.values).astype(np.int64)]
    wrong = np.flatnonzero(labels == -2)
    if len(wrong):
        assert column.texts is not None
        label = column.texts[int(column.values[wrong[0]])]
        raise DataError(
            f"{table.path}:{table.lines[wrong[0]]}: {column.name} is {label[:60]!r}, which is none of the "
            f"{len(classes)} labels {first_names(classes)}; {advice}"
        )
    return labels


def _learn(table: Table, names: list[str], targets: Column, rows: np.ndarray, settings: Csv) -> dict[str, Any]:
    """Learn the preparation of inputs and target, plain JSON, from `rows` alone."""
    _check_known(table, targets)
    about: dict[str, Any] = {"name": targets.name}
    classes: ClassNames = []
    if settings.task == "regression":
        about["mean"], about["deviation"] = standardization(targets.values[rows])
    else:
        found = _learn_classes(table, targets, rows)
        classes = settings.labels or found
        if 2 * len(found) > len(rows) > FEW_ROWS and not settings.labels:
            raise DataError(
                f"{table.path}: {targets.name}, the target, has {len(found)} different values in {len(rows)} training "
                "rows, which are hardly classes; to learn quantities set data.task: regression, or name all labels in "
                "data.labels"
            )
    if beyond := [label for label in classes if isinstance(label, int) and not -(2**63) <= label < 2**63]:
        raise DataError(
            f"{table.path}: {targets.name}, the target, has the label {beyond[0]}, which is beyond int64; write such "
            "labels as text, with a letter before them"
        )
    learnt = [learn_column(table.columns[name], rows, settings.categories) for name in names]
    form = {"separator": settings.separator, "decimal": settings.decimal}
    return {"kind": "table", **form, "target": about, "columns": learnt, "classes": classes}


def _note(table: Table, preparation: dict[str, Any], inputs: int) -> str:
    """Describe in a line the number of inputs, the values filled in, and the standardisation of the target."""
    columns, target = [table.columns[about["name"]] for about in preparation["columns"]], preparation["target"]
    note = f"{counted(len(columns), 'column')} {'is' if len(columns) == 1 else 'are'} {counted(inputs, 'input')}"
    if texts := [c.name for c in columns if c.texts is not None]:
        note += f", {first_names(texts)} {'are' if len(texts) > 1 else 'is'} taken as categories"
    if gaps := [f"{np.count_nonzero(c.missing)} of {c.name}" for c in columns if c.missing.any()]:
        note += f", missing values filled: {first_names(gaps)}"
    if not preparation["classes"]:
        note += f", {target['name']} standardised (mean {target['mean']:g}, deviation {target['deviation']:g})"
    return note


def _check_categories(table: Table, names: list[str]) -> None:
    """Raise DataError for a text column of mostly different values, such as names. Called if no columns were chosen."""
    rows = len(table.lines)
    for column in (table.columns[name] for name in names):
        if column.texts and 2 * len(column.texts) > rows > FEW_ROWS:
            raise DataError(
                f"{table.path}: column {column.name!r} has {len(column.texts)} different texts in {rows} rows, which "
                "are hardly categories; name the columns to learn from in data.columns"
            )


def _dataset(table: Table, preparation: dict[str, Any]) -> Dataset:
    inputs = prepare(preparation["columns"], table.columns).X
    assert isinstance(inputs, np.ndarray), "tables are dense"
    _check_range(table, input_names(preparation["columns"]), inputs)
    about, classes = preparation["target"], preparation["classes"]
    column = table.columns[about["name"]]
    _check_known(table, column)
    if classes:
        return Dataset(inputs, class_indices_in(table, column, classes, LABELS), len(classes))
    targets = ((column.values - about["mean"]) / about["deviation"])[:, np.newaxis]
    _check_range(table, [column.name], targets)
    return Dataset(inputs, targets, 0)


def _check_range(table: Table, names: Sequence[str], standardised: np.ndarray) -> None:
    """Raise DataError for the first number (N, K) beyond float32. `names`: of the K columns."""
    wrong = np.argwhere(~fits_float32(standardised))
    if len(wrong):
        row, place = wrong[0]
        raise DataError(
            f"{table.path}:{table.lines[row]}: {names[place]} is {table.columns[names[place]].values[row]:g}, by the "
            f"mean and deviation of the training rows {standardised[row, place]:g}, too large for float32; correct the "
            "row or remove it"
        )


def _check_names(names: list[str], settings: Csv) -> None:
    """Raise UsageError for settings of columns that contradict each other."""
    target = settings.target
    if target in names:
        raise UsageError(f"data.columns has {target!r}, which is data.target: what is to be learnt cannot be an input")
    known = set(names)
    for name in settings.categorical:
        if name not in known:
            raise UsageError(f"data.categorical has {name!r}, which is not among the columns {first_names(names)}")
    if not names:
        raise UsageError(f"there is no column but data.target, {target!r}: nothing to learn from")


def _check_known(table: Table, column: Column) -> None:
    if column.missing.any():
        line = table.lines[int(np.argmax(column.missing))]
        advice = "" if column.texts is None else ", or if a class is called none, NA or so, name all in data.labels"
        raise DataError(f"{table.path}:{line}: {column.name}, the target, is missing; remove the row{advice}")


def _learn_classes(table: Table, column: Column, rows: np.ndarray) -> ClassNames:
    """Return the classes in `rows`, sorted as integers if all of them are integers, else as text."""
    assert column.texts is not None
    texts = {whole(column.texts[place]) for place in np.unique(column.values[rows]).astype(np.int64)}
    if len(texts) < 2:
        raise DataError(
            f"{table.path}: {column.name}, the target, is {' '.join(texts)!r} in all training rows; "
            "classification needs two classes at least"
        )
    try:
        numbers = {int(text) for text in texts}
    except ValueError:
        return sorted(texts)
    return sorted(numbers) if {str(n) for n in numbers} == texts else sorted(texts)
