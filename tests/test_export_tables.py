"""Exported models prepare rows of tables as psgd does, by onnxruntime and by scikit-learn."""

from typing import Any

import numpy as np
import pandas
import pytest
from exported_models import HEADS, check_onnx, check_sklearn, drawn, made, run_onnx

from psgd.jobs.export.sklearn_pipeline import sklearn_pipeline
from psgd.jobs.predictions import write_csv

NUMBER = {"kind": "number", "missing": 30.0, "mean": 32.5, "deviation": 11.0}
TEXTS = {"categories": ["A", "B", "C"], "missing": "B"}
COLUMNS = [
    {"name": "age", **NUMBER},
    {"name": "rooms", **NUMBER},
    {"name": "home town", "kind": "codes", "mean": 0.9, "deviation": 0.7, **TEXTS},
    {"name": "probabilities", "kind": "one-hot", **TEXTS},
]


def rows() -> dict[str, list[Any]]:
    """Rows of a table with missing values and categories that no training row has."""
    return {
        "age": [31.0, float("nan"), -4.5, 1e6],
        "rooms": [1, 2, 3, 4],
        "home town": ["A", "C", "", "elsewhere"],
        "probabilities": ["C", "A", "NA", "B"],
    }


def feeds_of_rows() -> dict[str, np.ndarray]:
    feeds = {name: np.array(column)[:, None] for name, column in rows().items()}
    return {name: x.astype(object if x.dtype.kind == "U" else np.float64) for name, x in feeds.items()}


def table(target: dict[str, Any]) -> dict[str, Any]:
    return {"kind": "table", "separator": "comma", "target": {"name": "y", **target}, "columns": COLUMNS}


@pytest.mark.parametrize("head", [HEADS[0], HEADS[2], HEADS[7]], ids=lambda head: f"{head[0]}-{head[2]}")
@pytest.mark.filterwarnings("ignore:home town")
def test_tables_are_prepared_by_onnx_and_by_scikit_learn(head):
    target = {} if head[3] else {"mean": 250e3, "deviation": 9e4}
    model, frame = made(head, table(target), 6), pandas.DataFrame(rows())
    check_onnx(model, frame, feeds_of_rows())
    check_sklearn(model, frame, frame.replace({"": None}))


@pytest.mark.filterwarnings("ignore:home town")
def test_values_far_from_zero_keep_their_digits(capsys):
    frame = pandas.DataFrame(rows())
    plain, far = (made(HEADS[7], table(target), 6) for target in ({}, {"mean": 1.7e9, "deviation": 1e3}))
    wanted = plain.outputs(frame) * 1e3 + 1.7e9
    assert (wanted.dtype, far.outputs(frame).tobytes()) == (np.float64, wanted.tobytes())
    write_csv(far, wanted, None)
    assert [float(line) for line in capsys.readouterr().out.split()[1:]] == wanted[:, 0].tolist()
    np.testing.assert_allclose(run_onnx(far, feeds_of_rows())[0], wanted[:, 0], rtol=0, atol=0.01)
    exported = sklearn_pipeline(far).predict(frame.replace({"": None}))
    np.testing.assert_allclose(exported, wanted[:, 0], rtol=0, atol=0.01)


@pytest.mark.parametrize("kind", ["codes", "one-hot"])
@pytest.mark.parametrize(
    ("categories", "cells"),
    [
        (["1", "2", "3"], [3, 1, 2, 4]),
        (["1", "2", "3"], [3.0, np.nan, 2.0, 1.5]),
        (["1.0", "2.0"], [2, 1, 1, 2]),
        (["1", "1.0"], [1.0, 1.0, np.nan, 1.0]),
        (["007", "7"], [7.0, 7.0, np.nan, 7.0]),
        (["FALSE", "TRUE"], [True, False, False, True]),
        (["False", "True"], [True, None, False, True]),
    ],
)
@pytest.mark.filterwarnings("ignore:k:UserWarning")
def test_categories_are_found_as_pandas_reads_them(kind, categories, cells):
    column = {"name": "k", "kind": kind, "categories": categories, "missing": categories[-1]}
    column |= {"mean": 0.9, "deviation": 0.7} if kind == "codes" else {}
    inputs = 1 if kind == "codes" else len(categories)
    model, frame = made(HEADS[7], {**table({}), "columns": [column]}, inputs), pandas.DataFrame({"k": cells})
    check_sklearn(model, frame, frame)
    check_onnx(model, frame, {"k": np.asarray(frame, dtype=str).astype(object)})


def test_columns_may_have_the_names_of_scikit_learns_parameters():
    names = ["verbose", "remainder", "n_jobs", "transformers", "a__b"]
    columns = [{"name": name, **NUMBER} for name in names]
    model, frame = made(HEADS[2], {**table({}), "columns": columns}, 5), pandas.DataFrame(drawn(9, 5), columns=names)
    check_sklearn(model, frame, frame)


def test_numbers_side_by_side_are_one_part_of_the_pipeline():
    """A pipeline with a part for each of 5,000 columns took 20 s to be made, and 6 s to predict from a row."""
    draw = np.random.default_rng(0)
    columns = [
        {"name": f"n{n}", "kind": "number", "missing": n / 7, "mean": n / 5, "deviation": 1.0 + n} for n in range(200)
    ]
    columns.insert(100, COLUMNS[2])
    model = made(HEADS[2], {**table({}), "columns": columns}, 201)
    frame = pandas.DataFrame(draw.normal(0, 100, (20, 200)), columns=[f"n{n}" for n in range(200)])
    frame = frame.where(draw.random(frame.shape) < 0.8).assign(**{"home town": "A"})
    check_sklearn(model, frame, frame[frame.columns[::-1]])
    assert len(sklearn_pipeline(model)[0].transformers_) == 3
