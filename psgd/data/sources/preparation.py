"""Converts the columns of a table to inputs, by rules learnt from the training rows alone.

Numbers become (value - mean) / deviation; a missing value is replaced by the median. Categories become their index in
the sorted list of the categories in the training rows, standardised in the same way (`codes`: one input), or a 0 or 1
for each category (`one-hot`); a missing or unknown category is replaced by the most frequent one, and 1.0 is the
category 1. The rules are plain JSON, which is saved with the model.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from psgd.core.errors import DataError
from psgd.data.sources.column import Column
from psgd.data.sources.spelling import codes_of, spelling
from psgd.data.sparse import SparseDataset

NUMBER, CODES = "number", "codes"
CONSTANT = 8 * 2.0**-52  # a deviation relative to the values' magnitude, up to which they are taken for a constant


class PreparedInputs(NamedTuple):
    """Inputs for a network, and notes for people, each on one column of a table."""

    X: np.ndarray | SparseDataset  # (N, F), to be multiplied by `scale`; float64 if made of a table
    scale: float  # of an array; sparse rows have their own
    missing: list[str]  # how missing values were filled
    unseen: list[str]  # how categories that no training row has were replaced


def learn_column(column: Column, rows: np.ndarray, kind: str) -> dict[str, Any]:
    """Learn the rules of a column from its values in `rows`. `kind`: the inputs of categories, codes or one-hot.
    DataError if all values are missing."""
    values = column.values[rows]
    known = values[~np.isnan(values)]
    if not len(known):
        raise DataError(f"column {column.name!r} has no value in any training row; leave it out of data.columns")
    if column.texts is None:
        median = float(np.median(known))
        mean, deviation = standardization(np.where(np.isnan(values), median, values))
        return {"name": column.name, "kind": NUMBER, "missing": median, "mean": mean, "deviation": deviation}
    known = known.astype(np.int64)
    counts = dict(zip(column.texts, np.bincount(known, minlength=len(column.texts)).tolist(), strict=True))
    categories = sorted(text for text, count in counts.items() if count)
    frequent = max(categories, key=lambda text: counts[text])  # ties to the first
    learnt: dict[str, Any] = {"name": column.name, "kind": kind, "categories": categories, "missing": frequent}
    if kind == CODES:
        codes = _codes(learnt, column._replace(values=values), [])
        learnt["mean"], learnt["deviation"] = standardization(codes)
    return learnt


def standardization(values: np.ndarray) -> tuple[float, float]:
    """Return (mean, standard deviation), with 1 for the deviation of a constant: of values that differ by rounding
    alone, since the mean is rounded. Sums are correctly rounded (fsum): every machine gets the same bits."""
    mean = math.fsum(values) / len(values)
    deviation = math.sqrt(math.fsum(np.square(values - mean)) / len(values))
    return mean, deviation if deviation > CONSTANT * np.abs(values).max() else 1.0


def input_names(learnt: Sequence[dict[str, Any]]) -> list[str]:
    """Return the column of each input that `prepare` makes."""
    widths = [1 if about["kind"] in (NUMBER, CODES) else len(about["categories"]) for about in learnt]
    return [about["name"] for about, width in zip(learnt, widths, strict=True) for _ in range(width)]


def prepare(learnt: Sequence[dict[str, Any]], columns: Mapping[str, Column]) -> PreparedInputs:
    """Turn raw columns, by name, into inputs. Every learnt column must be among them."""
    rows = len(next(iter(columns.values())).values)
    inputs = np.empty((rows, len(input_names(learnt))))
    place = 0  # of the column's first input
    missing_notes: list[str] = []
    unseen_notes: list[str] = []
    for about in learnt:
        column, usual = columns[about["name"]], about["missing"]
        if count := int(np.count_nonzero(column.missing)):
            what = f"{usual:g}, the median" if about["kind"] == NUMBER else f"{usual!r}, the most frequent category"
            missing_notes.append(f"{column.name}: {count} missing, taken as {what} of the training rows")
        if about["kind"] == NUMBER:
            values = np.where(column.missing, usual, column.values)
        else:
            values = _codes(about, column, unseen_notes)
        if about["kind"] in (NUMBER, CODES):
            inputs[:, place] = (values - about["mean"]) / about["deviation"]
            place += 1
        else:
            width = len(about["categories"])
            np.equal(values[:, np.newaxis], np.arange(width), out=inputs[:, place : place + width])
            place += width
    return PreparedInputs(inputs, 1.0, missing_notes, unseen_notes)


def _codes(about: dict[str, Any], column: Column, notes: list[str]) -> np.ndarray:
    """Return indices in the learnt categories (N,) float64. Append to `notes` if a category is unknown."""
    texts, usual = column.texts or (), about["categories"].index(about["missing"])
    places = codes_of(about["categories"])
    known = np.array([places.get(text, places.get(spelling(text), -1)) for text in texts] + [usual], np.float64)
    # The last of `known` is for missing values.
    codes: np.ndarray = known[np.where(column.missing, len(texts), column.values).astype(np.int64)]
    unseen = codes < 0
    if unseen.any():
        found = [texts[place] for place in np.unique(column.values[unseen]).astype(np.int64)]
        shown = ", ".join(repr(text[:40]) for text in found[:5]) + (", ..." if len(found) > 5 else "")
        notes.append(
            f"{column.name}: {np.count_nonzero(unseen)} with a category that no training row has ({shown}), "
            f"taken as {about['missing']!r}, the most frequent category"
        )
    return np.where(unseen, float(usual), codes)
