"""CSV tables: the preparation that is learnt from the training rows, by hand."""

import json
import math
import os
from pathlib import Path

import numpy as np
import pytest
from peak_memory import peak_memory
from processes import ROOT, python
from tables import PEOPLE, arrays, table

from psgd.config.resolve import resolve
from psgd.core.errors import DataError
from psgd.data.sources.column import Collector
from psgd.data.sources.csv_rows import read_header, read_table
from psgd.data.sources.csv_table import collectors_of
from psgd.data.sources.load import load_data
from psgd.data.split import held_out


def test_standardisation_by_hand(tmp_path):
    """Median of 20, 40, 60 is 40; of 20, 40, 40, 60 the mean is 40 and the deviation sqrt(200)."""
    data = table(tmp_path, PEOPLE, train_rows=4, columns=["age"])
    deviation = math.sqrt(200)
    assert arrays(data)[0].tolist() == [[-20 / deviation], [0], [0], [20 / deviation]]
    assert arrays(data)[1].tolist() == [0, 1, 0, 1]
    assert data.test.inputs.tolist() == [[60 / deviation]]
    assert data.preparation["columns"] == [
        {"name": "age", "kind": "number", "missing": 40.0, "mean": 40.0, "deviation": deviation}
    ]
    assert json.loads(json.dumps(data.preparation)) == data.preparation


def test_categories_as_codes(tmp_path):
    """Oslo 0 and Rome 1, the missing one Rome: 1, 0, 1, 1, mean 3/4, deviation sqrt(3)/4. Bern is unseen: Rome."""
    data = table(tmp_path, PEOPLE, train_rows=4, columns=["city"])
    high, low = 0.25 / (math.sqrt(3) / 4), -0.75 / (math.sqrt(3) / 4)
    np.testing.assert_allclose(arrays(data)[0][:, 0], [high, low, high, high], rtol=1e-15)
    np.testing.assert_allclose(data.test.inputs, [[high]], rtol=1e-15)
    assert "1 column is 1 input," in data.note


def test_categories_one_hot(tmp_path):
    data = table(tmp_path, PEOPLE, train_rows=4, columns=["city", "ward"], categories="one-hot", categorical=["ward"])
    assert arrays(data)[0].tolist() == [[0, 1, 1, 0], [1, 0, 0, 1], [0, 1, 1, 0], [0, 1, 0, 1]]
    assert data.test.inputs.tolist() == [[0, 1, 1, 0]]  # Bern as Rome, ward 9 as ward 1: ties to the first
    assert "4 inputs" in data.note


def test_inputs_are_made_once_in_memory(tmp_path):
    """There were up to four copies of them, of which the one-hot inputs of a column of many categories are large."""
    rows = "".join(f"{n % 500},{n % 2}\n" for n in range(2000))
    one_hot = {"categorical": ["c"], "categories": "one-hot"}
    data, peak = peak_memory(lambda: table(tmp_path, "c,y\n" + rows, **one_hot))
    size = arrays(data)[0].nbytes
    assert size == 2000 * 500 * 8
    assert peak < 2 * size


def test_columns_are_found_without_going_through_all_of_them(tmp_path):
    """20,000 genes took as long as a training."""
    compared = []

    class Name(str):
        def __eq__(self, other: object) -> bool:
            compared.append(other)
            return str.__eq__(self, other)

        __hash__ = str.__hash__

    names = [f"gene {n}" for n in range(1000)]
    (tmp_path / "t.csv").write_text(",".join(names) + "\n" + ",".join("1" for _ in names) + "\n")
    assert read_header(tmp_path / "t.csv", "comma") == names
    found = read_table(tmp_path / "t.csv", "comma", [Collector(Name(name), True) for name in names])
    assert list(found.columns) == names
    assert len(compared) < 10 * len(names)


def test_all_columns_but_the_target(tmp_path):
    data = table(tmp_path, PEOPLE, train_rows=4)
    assert [about["name"] for about in data.preparation["columns"]] == ["age", "city", "ward"]
    assert data.preparation["classes"] == ["no", "yes"]


def test_validation_rows_do_not_affect_the_preparation(tmp_path):
    values = [float(3**n % 17) for n in range(10)]
    data = table(tmp_path, "x,y\n" + "".join(f"{v},{n % 2}\n" for n, v in enumerate(values)), validation=0.3)
    kept, held = held_out(10, 0.3, 0)
    learnt = data.preparation["columns"][0]
    assert learnt["mean"] == pytest.approx(sum(values[row] for row in kept) / 7, rel=1e-15)
    assert learnt["mean"] != pytest.approx(sum(values) / 10, rel=1e-3)
    expected = [(values[row] - learnt["mean"]) / learnt["deviation"] for row in held]
    assert data.validation.inputs[:, 0].tolist() == expected
    assert (len(data.train), len(data.validation), data.test) == (7, 3, None)


def test_columns_taken_as_categories_are_named(tmp_path):
    assert "taken as categories" not in table(tmp_path, "a,y\n1,0\n2,1\n").note
    assert "city is taken as categories" in table(tmp_path, "a,city,y\n1,Rome,0\n2,Oslo,1\n").note


def test_a_column_of_row_numbers_without_a_name_is_left_out(tmp_path):
    """DataFrame.to_csv and R's write.csv write tables with one."""
    data = table(tmp_path, ",a,y\n0,1,0\n1,3,1\n")
    assert [about["name"] for about in data.preparation["columns"]] == ["a"]


def test_equal_numbers_are_one_label(tmp_path):
    data = table(tmp_path, "a,y\n1,0\n2,1\n3,0.0\n4,1e0\n5,1.0\n", train_rows=3)
    assert data.preparation["classes"] == [0, 1]
    assert data.train.targets.tolist() == [0, 1, 0]
    assert data.test.targets.tolist() == [1, 1]


def test_a_constant_column_is_zero(tmp_path):
    assert arrays(table(tmp_path, "a,y\n5,0\n5,1\n"))[0].tolist() == [[0], [0]]


@pytest.mark.parametrize("value", ["14.62", "-14.62", "0.1", "1e-300", "123456789.123"])
@pytest.mark.parametrize("rows", [2, 3, 27, 1000])
def test_a_constant_whose_mean_is_rounded_is_one(tmp_path, value, rows):
    """The mean of 27 times 14.62 is rounded, and its deviation would be 1.8e-15: a new value would become 4e13."""
    data = table(tmp_path, "a,y\n" + f"{value},0\n{value},1\n" * (rows // 2) + f"{value},0\n" * (rows % 2))
    assert data.preparation["columns"][0]["deviation"] == 1.0
    assert np.abs(arrays(data)[0]).max() < 1e-6


def test_a_column_that_varies_little_is_no_constant(tmp_path):
    data = table(tmp_path, "a,y\n1000000.0,0\n1000000.000001,1\n")
    assert arrays(data)[0].tolist() == [[-1.0], [1.0]]


@pytest.mark.parametrize(
    ("labels", "classes"),
    [
        (["2", "10", "2"], [2, 10]),  # as numbers, not as text
        (["02", "10", "2"], ["02", "10", "2"]),
        (["b", "a", "b"], ["a", "b"]),
        (["0.5", "1", "1"], ["0.5", "1"]),
        (
            ["-9007199254740993", "-9007199254740992", "9007199254740993"],
            [-9007199254740993, -9007199254740992, 9007199254740993],
        ),
    ],
)
def test_names_of_classes(tmp_path, labels, classes):
    data = table(tmp_path, "x,y\n" + "".join(f"{n},{label}\n" for n, label in enumerate(labels)))
    assert data.preparation["classes"] == classes
    assert [str(classes[place]) for place in arrays(data)[1]] == labels


def test_given_labels_set_their_order(tmp_path):
    data = table(tmp_path, "x,y\n1,high\n2,low\n", labels=["low", "middle", "high"])
    assert arrays(data)[1].tolist() == [2, 0]
    assert data.train.classes == 3


@pytest.mark.parametrize("name", ["none", "NA", "null", "?"])
def test_a_class_that_is_named_is_not_missing(tmp_path, name):
    text = f"x,y\n1,{name}\n,mild\n"
    (tmp_path / "test.csv").write_text(f"x,y\n{name},{name}\n")  # an input is missing
    data = table(tmp_path, text, labels=["mild", name], test_path=str(tmp_path / "test.csv"))
    assert arrays(data)[1].tolist() == [1, 0]
    assert (data.test.inputs.tolist(), data.test.targets.tolist()) == ([[0]], [1])
    target = collectors_of(data.preparation, True)[-1]  # as for predictions
    target.add(name)
    assert target.column().texts == (name,)
    advice = r"t\.csv:2: y, the target, is missing; remove the row, or if a class is called .* name all in data\.labels"
    with pytest.raises(DataError, match=advice):
        table(tmp_path, text)


def test_regression_standardises_the_target(tmp_path):
    data = table(tmp_path, "x,y\n1,100\n2,300\n3,500\n", task="regression", train_rows=2)
    assert arrays(data)[1].tolist() == [[-1], [1]]
    assert data.test.targets.tolist() == [[3]]
    assert data.preparation["target"] == {"name": "y", "mean": 200.0, "deviation": 100.0}
    assert "y standardised (mean 200, deviation 100)" in data.note


def test_a_second_file_holds_the_test_data(tmp_path):
    (tmp_path / "test.csv").write_text("y,more,x\n1,?,5\n")
    data = table(tmp_path, "x,y\n1,0\n3,1\n", test_path=str(tmp_path / "test.csv"))
    assert data.test.inputs.tolist() == [[3]]  # (5 - 2) / 1
    assert data.test.targets.tolist() == [1]


def test_a_relative_path_is_searched_in_the_data_directories(tmp_path, monkeypatch):
    (tmp_path / "here").mkdir()
    (tmp_path / "data" / "town").mkdir(parents=True)
    (tmp_path / "data" / "town" / "t.csv").write_text("x,y\n1,0\n2,1\n")
    monkeypatch.chdir(tmp_path / "here")
    monkeypatch.setenv("PSGD_DATA", str(tmp_path / "data"))
    settings = resolve(None, ["data.source=csv", "data.path=town/t.csv", "data.target=y"]).settings
    assert len(load_data(settings).train) == 2
    monkeypatch.setenv("PSGD_DATA", str(tmp_path / "elsewhere"))
    with pytest.raises(DataError, match=r"elsewhere/town/t\.csv"):
        load_data(settings)


def test_titanic_reaches_80_percent(tmp_path):
    """7-15-1, trained on 600 rows: at least 0.80 on the other 291, for each seed."""
    if not Path(os.environ.get("PSGD_DATA", "/nonexistent"), "titanic", "titanic.csv").exists():
        pytest.skip("no titanic/titanic.csv under PSGD_DATA")
    for seed in range(5):
        run = tmp_path / str(seed)
        config = str(ROOT / "configs" / "titanic.yaml")
        finished = python("-m", "psgd.train", config, f"training.seed={seed}", "--output", str(run))
        assert finished.code == 0, finished
        assert "600 train, 291 test examples; 136 parameters" in finished.stderr  # 7 * 15 + 15 + 15 + 1
        assert json.loads(finished.stdout)["test_accuracy"] >= 0.80
