"""Converts what a caller gives a model to what a network takes. Neither scipy nor pandas is imported: their objects are
recognised by `tocsr` and `columns`."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from psgd.core.errors import DataError, UsageError
from psgd.core.wording import first_names
from psgd.data.sources.array_files import Named, check_finite
from psgd.data.sources.arrays import as_matrix
from psgd.data.sources.column import Collector, Column
from psgd.data.sources.csv_table import collectors_of
from psgd.data.sources.preparation import PreparedInputs, prepare
from psgd.data.sparse import SparseDataset
from psgd.data.user_arrays import check_unmasked

# An array; sparse rows of scipy, for a sparse model; for a table a DataFrame, or rows as mappings from column names.
Inputs = np.ndarray | Sequence[Mapping[str, Any]] | Any


def prepare_table(X: Inputs, preparation: Mapping[str, Any]) -> PreparedInputs:
    """Prepare rows of a table. DataError names the row or the columns that do not fit; columns that the model does not
    use are noted. UsageError if columns have no names."""
    needed = [about["name"] for about in preparation["columns"]]
    if hasattr(X, "columns"):
        columns, notes = _frame_columns(X, preparation, needed)
    elif isinstance(X, np.ndarray) or hasattr(X, "tocsr"):
        names = first_names(needed)
        raise UsageError(f"this model was trained on a table; give a DataFrame, or rows as dicts with columns {names}")
    else:
        columns, notes = _row_columns(X, preparation), []
    prepared = prepare(preparation["columns"], columns)
    return prepared._replace(unseen=prepared.unseen + notes)


def prepare_array(X: Inputs, preparation: Mapping[str, Any], inputs: int) -> PreparedInputs:
    """Prepare an array, or what numpy makes an array of. DataError if it does not fit."""
    check_unmasked(X, "X", "X")
    try:
        array = np.asarray(X)
    except ValueError as error:
        raise DataError(
            f"X is no array: its rows differ in length, or hold other things than numbers ({error})"
        ) from None
    matrix = as_matrix(Named("X", array))
    _check_width(array.shape, matrix.shape[1], preparation, inputs)
    if preparation.get("unit"):
        norms = np.sqrt(np.square(matrix, dtype=np.float64).sum(axis=1, keepdims=True))
        matrix = matrix / np.where(norms == 0, 1.0, norms)
    return PreparedInputs(matrix, preparation.get("scale", 1.0), [], [])


def prepare_sparse(X: Any, preparation: Mapping[str, Any], inputs: int) -> PreparedInputs:
    """Prepare sparse rows of scipy. DataError if they do not fit."""
    rows = X.tocsr(copy=True)
    _check_width(X.shape, X.shape[1], preparation, inputs)
    rows.sum_duplicates()
    check_finite(Named("X, stored values", rows.data))
    values, indptr = rows.data.astype(np.float64), rows.indptr.astype(np.int64)
    if preparation.get("unit"):
        row = np.repeat(np.arange(len(indptr) - 1), np.diff(indptr))
        norms = np.sqrt(np.bincount(row, values * values, len(indptr) - 1))
        values /= np.where(norms == 0, 1.0, norms)[row]
    targets, scale = np.zeros((X.shape[0], 1), np.float32), preparation.get("scale", 1.0)
    indices, narrow = rows.indices.astype(np.int32), values.astype(np.float32)
    return PreparedInputs(SparseDataset(indptr, indices, narrow, targets, 0, inputs, scale), 1.0, [], [])


def _check_width(shape: tuple[int, ...], width: int, preparation: Mapping[str, Any], inputs: int) -> None:
    if width != inputs:
        needed = ", ".join(map(str, preparation.get("shape") or [inputs]))
        raise DataError(f"X has shape {shape}; this model needs (examples, {needed})")


def _frame_columns(X: Any, preparation: Mapping[str, Any], needed: list[str]) -> tuple[dict[str, Column], list[str]]:
    """Return the needed columns of a DataFrame, by name whatever their order, and a note on others but the target."""
    by_name = {str(name): name for name in X.columns}
    absent = [name for name in needed if name not in by_name]
    if absent:
        raise DataError(f"X has no column {_quoted(absent)}; this model needs {_quoted(needed)}, in any order")
    counts = Counter(map(str, X.columns))
    if double := [name for name in needed if counts[name] > 1]:
        raise DataError(f"X has two columns named {_quoted(double[:1])}; keep one")
    collectors = collectors_of(preparation, False)
    for collector in collectors:
        for number, value in enumerate(X[by_name[collector.name]]):
            _add(collector, number, value)
    known = {*needed, preparation["target"]["name"]}
    others = [name for name in by_name if name not in known]
    notes = [f"X has columns that this model does not use: {_quoted(others)}"] if others else []
    return _collected(collectors), notes


def _row_columns(rows: Sequence[Mapping[str, Any]], preparation: Mapping[str, Any]) -> dict[str, Column]:
    collectors = collectors_of(preparation, False)
    for number, row in enumerate(rows):
        if not isinstance(row, Mapping):
            raise UsageError(f"row {number} is {type(row).__name__}; a row is a dict from column names to values")
        for collector in collectors:
            if collector.name not in row:
                raise DataError(f"row {number} has no {collector.name!r}; give None where it is missing")
            _add(collector, number, row[collector.name])
    return _collected(collectors)


def _add(collector: Collector, number: int, value: Any) -> None:
    try:
        collector.add("" if value is None else str(value))
    except ValueError as error:
        raise DataError(f"row {number}: {error}") from None


def _collected(collectors: Iterable[Collector]) -> dict[str, Column]:
    columns = {collector.name: collector.column() for collector in collectors}
    if not all(len(column.values) for column in columns.values()):
        raise DataError("no rows to predict")
    return columns


def _quoted(names: Sequence[str]) -> str:
    return ", ".join(repr(name) for name in names[:10]) + (", ..." if len(names) > 10 else "")
