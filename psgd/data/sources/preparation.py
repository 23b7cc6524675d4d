"""Turns the columns of a table into inputs. What that takes is learnt from the training rows and saved as JSON.

Numbers: (value - mean) / deviation; a missing value is the median. Categories: their place in the sorted list of those
met in training, standardised likewise (`codes`: one input), or a 0 or 1 for each (`one-hot`); a missing value, or a
category not met in training, is the most frequent one.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from psgd.core.errors import DataError
from psgd.data.sources.column import Column

NUMBER, CODES, ONE_HOT = "number", "codes", "one-hot"


class PreparedColumns(NamedTuple):
    """Columns as inputs of a network, and what was filled in."""

    inputs: np.ndarray  # (N, F) float64
    missing: dict[str, int]  # column -> how many values
    unseen: dict[str, list[str]]  # column -> categories not met in training
    unseen_rows: dict[str, int]


def learn_columns(columns: Sequence[Column], rows: np.ndarray, categories: str) -> list[dict[str, Any]]:
    """The preparation of columns, learnt from `rows`; `categories`: codes or one-hot."""
    return [_learn_number(c, rows) if c.texts is None else _learn_category(c, rows, categories) for c in columns]


def standardization(values: np.ndarray) -> tuple[float, float]:
    """(mean, deviation), 1 for a deviation of 0. The sums are exact, so the bits are the same on every machine."""
    mean = math.fsum(values) / len(values)
    deviation = math.sqrt(math.fsum(np.square(values - mean)) / len(values))
    return mean, deviation or 1.0


def prepare(learnt: Sequence[dict[str, Any]], columns: Mapping[str, Column]) -> PreparedColumns:
    """Raw columns as inputs; there must be one for each column of `learnt`."""
    inputs: list[np.ndarray] = []
    result = PreparedColumns(np.empty(0), {}, {}, {})
    for about in learnt:
        column = columns[about["name"]]
        if column.missing.any():
            result.missing[column.name] = int(np.count_nonzero(column.missing))
        if about["kind"] == NUMBER:
            filled = np.where(column.missing, about["missing"], column.values)
            inputs.append((filled - about["mean"]) / about["deviation"])
            continue
        codes = _codes(about, column, result)
        if about["kind"] == CODES:
            inputs.append((codes - about["mean"]) / about["deviation"])
        else:
            inputs.extend((codes == code).astype(np.float64) for code in range(len(about["categories"])))
    return result._replace(inputs=np.stack(inputs, axis=1))


def width(learnt: Sequence[dict[str, Any]]) -> int:
    """The number of inputs that the columns become."""
    return sum(len(about["categories"]) if about["kind"] == ONE_HOT else 1 for about in learnt)


def missing_notes(learnt: Sequence[dict[str, Any]], prepared: PreparedColumns) -> list[str]:
    """Notes for people, one a column, on how missing values were filled."""
    said = []
    for about in learnt:
        name, value = about["name"], about["missing"]
        if count := prepared.missing.get(name):
            what = f"{value:g}, the median" if about["kind"] == NUMBER else f"{value!r}, the most frequent category"
            said.append(f"{name}: {count} missing, taken as {what} of the training rows")
    return said


def unseen_notes(learnt: Sequence[dict[str, Any]], prepared: PreparedColumns) -> list[str]:
    """Notes for people, one a column, on how categories that no training row has were replaced."""
    said = []
    for about in learnt:
        name = about["name"]
        if texts := prepared.unseen.get(name):
            shown = ", ".join(repr(text[:40]) for text in texts[:5]) + (", ..." if len(texts) > 5 else "")
            said.append(
                f"{name}: {prepared.unseen_rows[name]} with a category that no training row has ({shown}), "
                f"taken as {about['missing']!r}, the most frequent category"
            )
    return said


def _learn_number(column: Column, rows: np.ndarray) -> dict[str, Any]:
    values = column.values[rows]
    known = values[~np.isnan(values)]
    _must_know(column, len(known))
    median = float(np.median(known))
    mean, deviation = standardization(np.where(np.isnan(values), median, values))
    return {"name": column.name, "kind": NUMBER, "missing": median, "mean": mean, "deviation": deviation}


def _learn_category(column: Column, rows: np.ndarray, kind: str) -> dict[str, Any]:
    assert column.texts is not None
    places = column.values[rows]
    known = places[~np.isnan(places)].astype(np.int64)
    _must_know(column, len(known))
    counts = dict(zip(column.texts, np.bincount(known, minlength=len(column.texts)).tolist(), strict=True))
    categories = sorted(text for text, count in counts.items() if count)
    frequent = max(categories, key=lambda text: counts[text])  # ties to the first
    learnt: dict[str, Any] = {"name": column.name, "kind": kind, "categories": categories, "missing": frequent}
    if kind == CODES:
        codes = _codes(learnt, column._replace(values=places), PreparedColumns(np.empty(0), {}, {}, {}))
        learnt["mean"], learnt["deviation"] = standardization(codes)
    return learnt


def _must_know(column: Column, known: int) -> None:
    if not known:
        raise DataError(f"column {column.name!r} has no value in any training row; leave it out of data.columns")


def _codes(about: dict[str, Any], column: Column, result: PreparedColumns) -> np.ndarray:
    """Indices (N,) float64 in the learnt categories; categories that training did not have are noted in `result`."""
    texts, usual = column.texts or (), about["categories"].index(about["missing"])
    places = {text: place for place, text in enumerate(about["categories"])}
    known = np.array([places.get(text, -1) for text in texts] + [usual], np.float64)  # the last is for missing values
    codes: np.ndarray = known[np.where(column.missing, len(texts), column.values).astype(np.int64)]
    strange = codes < 0
    if strange.any():
        met = np.unique(column.values[strange]).astype(np.int64)
        result.unseen[column.name] = [texts[place] for place in met]
        result.unseen_rows[column.name] = int(np.count_nonzero(strange))
    return np.where(strange, float(usual), codes)
