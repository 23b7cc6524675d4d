"""Predictions from a model file alone, in Python and by the command, agree with the accuracy of the training."""

import csv
import errno
import gzip
import io
import sys
from pathlib import Path

import numpy as np
import pytest
from processes import Finished, python, run
from run_files import read_summary

import psgd
from psgd.core.errors import DataError, UsageError
from psgd.data.sources.digits import load_digits
from psgd.predict import main

SHORT = ("training.epochs=3", "--quiet")


def train(directory: Path, *arguments: str) -> float:
    """The accuracy (or else the loss) of training."""
    finished = python("-m", "psgd.train", *SHORT, *arguments, "--output", str(directory))
    assert finished.code == 0, finished
    summary = read_summary(directory)
    return float(summary.get("test_accuracy", summary["test_loss"]))


def predict(*arguments: object) -> Finished:
    return python("-m", "psgd.predict", *map(str, arguments))


def rows(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(text)))


TABLE = ("data.source=csv", "data.target=fate", "data.train_rows=200", "model.loss=binary-cross-entropy", "workers=2")


@pytest.fixture(scope="module")
def table(tmp_path_factory) -> tuple[Path, float]:
    """A directory with t.csv, test.csv (its last rows) and a run; its test accuracy."""
    directory, draw = tmp_path_factory.mktemp("table"), np.random.default_rng(0)
    lines = ["age,town,fate"]
    for _ in range(300):
        age, town = draw.integers(1, 80), "ABC"[draw.integers(3)]
        fate = "lost" if age + 30 * (town == "A") + 20 * draw.standard_normal() > 50 else "saved"
        lines.append(f"{age if draw.random() < 0.9 else ''},{town},{fate}")
    (directory / "t.csv").write_text("\n".join(lines) + "\n")
    (directory / "test.csv").write_text("\n".join([lines[0], *lines[201:]]) + "\n")
    return directory, train(directory / "run", f"data.path={directory}/t.csv", *TABLE)


@pytest.fixture(scope="module")
def digits(tmp_path_factory) -> tuple[Path, float]:
    directory = tmp_path_factory.mktemp("digits")
    return directory, train(directory / "run", "workers=2")


def test_predictions_for_a_table_have_the_accuracy_of_the_training(table):
    directory, accuracy = table
    finished = predict(directory / "run" / "model.safetensors", directory / "test.csv")
    assert finished.code == 0, finished
    with open(directory / "test.csv") as file:
        given = list(csv.DictReader(file))
    truth = [row["fate"] for row in given]
    said = rows(finished.stdout)
    assert sum(row["prediction"] == fate for row, fate in zip(said, truth, strict=True)) == round(accuracy * 100)
    assert f"accuracy {accuracy:.4f} ({round(accuracy * 100)} of 100)" in finished.stderr
    for row in said:
        lost, saved = float(row["probability_lost"]), float(row["probability_saved"])
        assert lost + saved == pytest.approx(1, abs=1e-6)
        assert row["prediction"] == ("saved" if saved > 0.5 else "lost")
    missing = sum(not row["age"] for row in given)
    assert f"age: {missing} missing, taken as " in finished.stderr


def test_rows_in_python_are_treated_as_rows_of_a_file(table):
    directory, accuracy = table
    model = psgd.load(directory / "run")
    with open(directory / "test.csv") as file:
        given = list(csv.DictReader(file))
    assert np.mean(model.predict(given) == [row["fate"] for row in given]) == accuracy
    numbers = [{"age": float(row["age"]) if row["age"] else None, "town": row["town"]} for row in given]
    assert model.outputs(numbers).tobytes() == model.outputs(given).tobytes()
    assert model.predict_probabilities(given).shape == (100, 2)
    assert model.classes == ["lost", "saved"]


def test_unseen_categories_and_missing_values_are_reported(table, tmp_path):
    directory, _ = table
    (tmp_path / "new.csv").write_text("town,age,more\nX,30,1\nY,?,2\nX,NA,3\nA,20,4\n")
    finished = predict(directory / "run", tmp_path / "new.csv", "--output", tmp_path / "out.csv")
    assert finished.code == 0, finished
    assert "age: 2 missing, taken as" in finished.stderr
    assert "town: 3 with a category that no training row has ('X', 'Y'), taken as" in finished.stderr
    assert "accuracy" not in finished.stderr
    assert finished.stdout == ""
    assert len(rows((tmp_path / "out.csv").read_text())) == 4
    again = predict(directory / "run", tmp_path / "none.csv", "--output", tmp_path / "out.csv")
    refused = f"psgd: {tmp_path}/out.csv exists already; remove it, or name another file by --output\n"
    assert (again.code, again.stdout, again.stderr) == (2, "", refused)  # before anything is read
    model = psgd.load(directory / "run")
    usual = model.preparation["columns"][1]["missing"]
    with pytest.warns(UserWarning, match="town: 1 with a category that no training row has"):
        unseen = model.outputs([{"age": 30, "town": "X"}])
    assert unseen.tobytes() == model.outputs([{"age": 30, "town": usual}]).tobytes()


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("age,town\n1,A\n2\n", ":3: 1 fields, but the header has 2"),
        ("age,town\n1,A\nold,B\n", ":3: age is 'old', which is not a number; correct the row or remove it"),
        (
            "age;town\n1;A\n",
            ": no column 'age'; the header seems to be separated by semicolon: separate it by comma, or to train ",
        ),
        ("age,town,fate\n1,A,lost\n1,A,unknown\n", ":3: fate is 'unknown', which is none of the 2 labels lost, saved"),
        ("age,twon\n1,A\n", ": no column 'town'; did you mean twon?"),
    ],
)
def test_invalid_rows_are_errors(table, tmp_path, text, words):
    (tmp_path / "new.csv").write_text(text)
    finished = predict(table[0] / "run", tmp_path / "new.csv")
    assert finished.code == 3
    assert finished.stderr.startswith(f"psgd: {tmp_path}/new.csv{words}")
    assert finished.stderr.count("\n") == 1
    assert finished.stdout == ""


def test_rows_without_a_label_do_not_count_for_the_accuracy(table, tmp_path):
    (tmp_path / "new.csv").write_text("age,town,fate\n1,B,saved\n1,B,\n")
    finished = predict(table[0] / "run", tmp_path / "new.csv")
    assert "1 of 1); 1 rows without an answer" in finished.stderr


def test_raw_images_in_python(digits):
    directory, accuracy = digits
    model, test = psgd.load(directory / "run"), load_digits()[1]
    assert np.mean(model.predict(test.inputs) == test.targets) == accuracy
    images = test.inputs.reshape(-1, 8, 8)
    assert model.predict(images).tolist() == model.predict(test.inputs).tolist()
    assert model.outputs(test.inputs.astype(np.float64)).tobytes() == model.outputs(test.inputs).tobytes()
    np.testing.assert_allclose(model.predict_probabilities(images).sum(axis=1), 1, atol=1e-5)


@pytest.mark.parametrize("kind", ["npz", "npy", "idx", "directory"])
def test_arrays_by_the_command(digits, tmp_path, kind):
    directory, accuracy = digits
    test = load_digits()[1]
    images = test.inputs.reshape(-1, 8, 8)
    path = tmp_path / f"d.{kind}"
    if kind == "npz":
        np.savez(path, x_test=images, y_test=test.targets)
    elif kind == "npy":
        np.save(path, images)
    elif kind == "idx":
        head = bytes([0, 0, 8, 3]) + np.array(images.shape, ">i4").tobytes()
        path.write_bytes(gzip.compress(head + images.tobytes()))
    else:
        path.mkdir()
        np.save(path / "x.npy", images)
        np.save(path / "y.npy", test.targets)
    finished = predict(directory / "run", path)
    assert finished.code == 0, finished
    said = [int(row["prediction"]) for row in rows(finished.stdout)]
    assert np.mean(said == test.targets) == accuracy
    assert ("accuracy" in finished.stderr) == (kind in ("npz", "directory"))


def test_classes_with_names_and_bytes_from_npz(tmp_path):
    train_data, test = load_digits()
    names = np.array([f"digit {n}" for n in range(10)])
    np.savez(
        tmp_path / "d.npz", x_train=train_data.inputs, y_train=names[train_data.targets],
        x_test=test.inputs, y_test=names[test.targets],
    )  # fmt: skip
    accuracy = train(tmp_path / "run", "data.source=npz", f"data.path={tmp_path}/d.npz", "data.scale=0.0625")
    model = psgd.load(tmp_path / "run")
    assert np.mean(model.predict(test.inputs) == names[test.targets]) == accuracy
    assert f"accuracy {accuracy:.4f}" in predict(tmp_path / "run", tmp_path / "d.npz").stderr


def test_regression_gives_values_in_their_own_units(tmp_path):
    draw = np.random.default_rng(0)
    x = draw.standard_normal(400)
    (tmp_path / "t.csv").write_text("x,price\n" + "".join(f"{v},{250000 + 90000 * v}\n" for v in x))
    train(
        tmp_path / "run", "data.source=csv", f"data.path={tmp_path}/t.csv", "data.target=price", "data.task=regression",
        "data.train_rows=300", "model.loss=squared-error", "model.hidden=[]", "optimizer.learning_rate=0.05",
        "training.epochs=20", "workers=1",
    )  # fmt: skip
    model = psgd.load(tmp_path / "run")
    np.testing.assert_allclose(model.predict([{"x": 0}, {"x": 1.0}, {"x": "-1"}]), [250e3, 340e3, 160e3], rtol=0.02)
    finished = predict(tmp_path / "run", tmp_path / "t.csv")
    assert "root mean squared error" in finished.stderr
    assert set(rows(finished.stdout)[0]) == {"prediction"}
    with pytest.raises(UsageError, match="no probabilities"):
        model.predict_probabilities([{"x": 0}])


def test_a_hinge_has_a_margin_and_no_probabilities(table, tmp_path):
    directory, _ = table
    settings = [setting for setting in TABLE if "loss" not in setting]
    accuracy = train(tmp_path / "run", f"data.path={directory}/t.csv", *settings, "model.loss=hinge")
    finished = predict(tmp_path / "run", directory / "test.csv")
    assert f"accuracy {accuracy:.4f}" in finished.stderr
    assert set(rows(finished.stdout)[0]) == {"prediction"}


def test_invalid_models_and_data_that_do_not_fit_are_errors(digits, table, tmp_path):
    (tmp_path / "broken.safetensors").write_bytes(b"not a model")
    for path, words in ((tmp_path / "broken.safetensors", "cannot be read"), (tmp_path / "none", "no such file")):
        finished = predict(path, table[0] / "test.csv")
        assert finished.code == 3
        assert words in finished.stderr
        assert "Traceback" not in finished.stderr
    model = psgd.load(digits[0] / "run")
    with pytest.raises(DataError, match=r"X has shape \(2, 63\); this model needs \(examples, 64\)"):
        model.predict(np.zeros((2, 63)))
    with pytest.raises(UsageError, match="give a DataFrame, or rows as dicts with columns age, town"):
        psgd.load(table[0] / "run").predict(np.zeros((2, 2)))
    with pytest.raises(DataError, match="row 0 has no 'town'"):
        psgd.load(table[0] / "run").predict([{"age": 3}])
    with pytest.raises(DataError, match="row 0: age is 'x', which is not a number"):
        psgd.load(table[0] / "run").predict([{"age": "x", "town": "A"}])
    assert predict(digits[0] / "run", table[0] / "test.csv").code == 3


def test_data_that_are_not_there_are_told_with_what_the_model_takes(digits, table, tmp_path):
    arrays = (
        "DATA is the path of new examples: for this model an npz or npy file, a directory of npy files, or IDX images"
    )
    scores = "the scores of a run on the test data of its own config are in its summary.json"
    columns = "DATA is the path of new examples: for this model a CSV file with the columns that it was trained on"
    for directory, data, line in (
        (digits[0], tmp_path / "none.npz", f"{tmp_path}/none.npz: there is no such file; {arrays}"),
        (digits[0], "mnist", f"mnist is the name of a config; {arrays}; {scores}"),
        (table[0], "none", f"none: there is no such file; {columns}"),
    ):
        finished = predict(directory / "run", data)
        assert (finished.code, finished.stdout, finished.stderr) == (3, "", f"psgd: {line}\n")


def test_a_directory_as_output_is_told_from_a_file(table, tmp_path, capsys):
    for output, shown in ((str(tmp_path), str(tmp_path)), (".", ".")):
        assert main([str(table[0] / "run"), str(table[0] / "test.csv"), "--output", output]) == 2
        assert capsys.readouterr().err == f"psgd: {shown} is a directory; name a file by --output\n"


def test_of_a_full_disk_no_part_of_the_predictions_is_left(table, tmp_path, monkeypatch, capsys):
    class Full:
        def __init__(self, file, lineterminator):
            self._file = file

        def writerow(self, row):
            if self._file.tell():
                raise OSError(errno.ENOSPC, "No space left on device")
            self._file.write("prediction\n")
            self._file.flush()

    monkeypatch.setattr("psgd.jobs.predictions.csv.writer", Full)
    asked = [str(table[0] / "run"), str(table[0] / "test.csv"), "--output", str(tmp_path / "out.csv")]
    assert main(asked) == 3
    said = capsys.readouterr().err.splitlines()
    assert said[-1] == f"psgd: cannot write {tmp_path}/out.csv: No space left on device"
    assert list(tmp_path.iterdir()) == []


def test_a_closed_pipe_is_an_error_without_traceback(digits, tmp_path):
    np.save(tmp_path / "x.npy", np.tile(load_digits()[1].inputs, (40, 1)))
    asked = f'"{sys.executable}" -m psgd.predict "{digits[0]}/run" "{tmp_path}/x.npy"'
    finished = run(["bash", "-c", f"exec 3>&1; {{ {asked}; echo $? >&3; }} | true"])
    assert finished.stdout.strip() == "3"
    assert finished.stderr.strip() == "psgd: cannot write to stdout: Broken pipe"


def test_a_closed_stdout_is_an_error_without_traceback(digits, tmp_path):
    np.save(tmp_path / "x.npy", load_digits()[1].inputs)
    asked = f'"{sys.executable}" -m psgd.predict "{digits[0]}/run" "{tmp_path}/x.npy"'
    finished = run(["bash", "-c", f"{asked} >&-"])
    assert (finished.code, finished.stderr.count("\n")) == (3, 1)
    assert "stdout, which is closed; name a file by --output" in finished.stderr
