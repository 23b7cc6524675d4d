"""What is wrong with a CSV table or its settings is named, with the line and the column."""

import pytest
from processes import python
from tables import PEOPLE, table

from psgd.config.resolve import resolve
from psgd.core.errors import DataError, UsageError
from psgd.data.sources.load import load_data


def test_messages_name_some_of_many_columns(tmp_path):
    """A run on genes began with a line of all of their names, of 100 kB."""
    names = [f"gene{n}" for n in range(1000)]
    rows = [",".join([letter] * 1000 + [y]) for letter, y in (("a", "0"), ("b", "1"), ("", "0"))]
    text = "\n".join([",".join([*names, "y"]), *rows])
    note = table(tmp_path, text).note
    assert "gene0, gene1, " in note
    assert ", ... are taken as categories, missing values filled: 1 of gene0, 1 of gene1, " in note
    with pytest.raises(DataError, match=r"no column 'z'; its columns are gene0, gene1, .*, \.\.\.$") as absent:
        table(tmp_path, text, columns=["z"])
    with pytest.raises(UsageError, match=r"'z', which is not among the columns gene0, .*, \.\.\.$") as unknown:
        table(tmp_path, text, categorical=["z"])
    assert max(map(len, (note, str(absent.value), str(unknown.value)))) < 1000


@pytest.mark.parametrize(
    ("rows", "words"),
    [
        ("1e99,5,a", "4: x is '1e99', which is beyond 3.4e+38"),
        ("1,7e99,a", "4: y is '7e99', which is beyond 3.4e+38"),
        ("1,5,a\n-3e38,5,a", "5: x is -3e+38, by the mean and deviation of the training rows -3e+48, too large"),
        ("1,3e38,a", "4: y is 3e+38, by the mean and deviation of the training rows 3e+39, too large"),
    ],
)
@pytest.mark.parametrize("settings", [{"train_rows": 2}, {"test_path": "second.csv"}])
def test_numbers_that_are_too_large_are_named(tmp_path, monkeypatch, rows, words, settings):
    """Trained on 0 and 2e-10, the deviation is 1e-10; on 0 and 0.2, it is 0.1."""
    monkeypatch.chdir(tmp_path)
    text = "x,y,town\n0,0,a\n2e-10,0.2,b\n"
    if "test_path" in settings:
        (tmp_path / "second.csv").write_text(f"x,y,town\n\n\n{rows}\n")
    else:
        text += f"{rows}\n"
    with pytest.raises(DataError) as caught:
        table(tmp_path, text, task="regression", categories="one-hot", **settings)
    assert f".csv:{words}" in str(caught.value)


@pytest.mark.parametrize(
    ("text", "line", "words"),
    [
        ("a,b,y\n1,2,0\n1,2\n", 3, "2 fields, but the header has 3"),
        ("a,b,y\n1,2,0\n1,2,3,4\n", 3, "4 fields, but the header has 3"),
        ("a,b,y\n1,2,0\n\n1,x,1\n", 4, "b is 'x', which is not a number, but the values above it are numbers"),
        ("a,b,y\n1,x,0\n1,2,1\n", 3, "b is '2', a number, but the values above it are no numbers (the first is 'x')"),
        (
            "a,b,y\n1,2,0\n1,inf,1\n",
            3,
            "b is 'inf', which is beyond 3.4e+38, the largest number of float32, but the values",
        ),
        ("a,b,y\n1,2,0\n1,-1e300,1\n", 3, "b is '-1e300', which is beyond 3.4e+38"),
        ("a,b,y\n1,1e39,0\n1,2,1\n", 2, "b is '1e39', which is beyond 3.4e+38, the largest number of float32; correct"),
        ("a,b,y\n1,,0\n1,-inf,1\n", 3, "the largest number of float32; correct or remove the row, or name the column"),
        ("a,b,y\n1,2,0\n1,1_000,1\n", 3, "b is '1_000', which is not a number as it stands"),
        (
            'a,b,y\n1,2,0\n1,"1,000",1\n',
            3,
            "b is '1,000', which is not a number as it stands; write it with digits and",
        ),
        ("a,b,y\n1,2,0\n1,2,\n", 3, "y, the target, is missing"),
        ('a,b,y\n"1\n",2,0\n3,4\n', 4, "2 fields"),
        ('a,b,y\n1,2,0\n1,"2,1\n', 3, "unexpected end of data"),
        ('a,b,y\n1,2,0\n1,"2"x,1\n', 3, "expected after"),
        ("a,a,y\n1,2,0\n", 1, "two columns are named 'a'"),
        ("a,,,y\n1,2,3,0\n", 1, "two columns of the header have no name"),
        ("50.5,2,y\n1,2,0\n", 1, "the header has the number 50.5 as a name"),
        ("0,0,y\n1,2,0\n", 1, "the first row must name the columns"),
        ('a,y\n"5,5",0\n', 2, "a is '5,5', which is not a number as it stands"),
    ],
)
def test_invalid_rows_are_named(tmp_path, text, line, words):
    with pytest.raises(DataError) as caught:
        table(tmp_path, text)
    assert str(caught.value).startswith(f"{tmp_path}/t.csv:{line}: ")
    assert words in str(caught.value)


def test_a_label_out_of_range_is_named(tmp_path):
    with pytest.raises(
        DataError, match=r"t.csv:4: y is '7', which is none of the 2 labels 0, 1; .* all labels in data.labels"
    ):
        table(tmp_path, "x,y\n1,0\n2,1\n3,7\n", labels=[0, 1])
    with pytest.raises(
        DataError, match=r"t.csv:4: y is '7', which is none of the 2 labels 0, 1; .* all labels in data.labels"
    ):
        table(tmp_path, "x,y\n1,0\n2,1\n3,7\n", train_rows=2)


@pytest.mark.parametrize("write", [str, lambda number: f"{number}.5", lambda number: f"name {number}"])
def test_a_target_of_mostly_different_values_is_hardly_of_classes(tmp_path, write):
    def of(values, **settings):
        return table(tmp_path, "x,y\n" + "".join(f"{i},{write(value)}\n" for i, value in enumerate(values)), **settings)

    with pytest.raises(DataError, match=r"y, the target, has 13 different values in 24 training rows, .*: regression"):
        of([i % 13 for i in range(24)])
    assert of([i % 12 for i in range(24)]).train.classes == 12
    assert of(range(20)).train.classes == 20  # too few to tell
    assert of(range(24), labels=[write(i) for i in range(24)]).train.classes == 24


@pytest.mark.parametrize(
    ("text", "settings", "error", "words"),
    [
        (PEOPLE, {"columns": ["agee"]}, DataError, "no column 'agee'; did you mean age?"),
        (PEOPLE, {"columns": ["age", "y"]}, UsageError, "cannot be an input"),
        (PEOPLE, {"columns": ["age"], "categorical": ["city"]}, UsageError, "not among the columns age"),
        (PEOPLE, {"train_rows": 5}, UsageError, "has 5 rows; leave some to test on"),
        ("x,y\n1,0\n2,0\n", {}, DataError, "is '0' in all training rows"),
        (
            "x,y\n1,0\n2,1e19\n",
            {},
            DataError,
            "y, the target, has the label 10000000000000000000, which is beyond int64",
        ),
        ("x,y\n1,0\n2,1\n", {"labels": [0, 2**63]}, DataError, "has the label 9223372036854775808, which is beyond"),
        ("x,y\n,0\n?,1\nNA,1\n", {}, DataError, "'x' has no value in any training row"),
        ("x,y\n", {}, DataError, "a header, but no rows"),
        ("", {}, DataError, "empty"),
        ("x,z\n1,0\n", {}, DataError, "no column 'y'; its columns are x, z"),
        ("n,y\n" + "".join(f"n{i},{i % 2}\n" for i in range(30)), {}, DataError, "30 different texts in 30 rows"),
    ],
)
def test_other_invalid_tables_are_errors(tmp_path, text, settings, error, words):
    with pytest.raises(error) as caught:
        table(tmp_path, text, **settings)
    assert words in str(caught.value)


@pytest.mark.parametrize(
    ("overrides", "words"),
    [
        (["data.target=y"], "data.path is null; name a CSV file"),
        (["data.path=a.csv"], "data.target is null"),
        (["data.path=a.csv", "data.target=y", "data.colums=[a]"], "did you mean columns?"),
        (["data.path=a.csv", "data.target=y", "data.columns=[]"], "a list of different columns"),
        (["data.path=a.csv", "data.target=y", "data.columns=[a, a]"], "a list of different columns"),
        (["data.path=a.csv", "data.target=y", "data.labels=[1, '1']"], "two different labels or more"),
        (["data.path=a.csv", "data.target=y", "data.train_rows=3", "data.test_path=b.csv"], "leave one of them out"),
    ],
)
def test_invalid_settings_are_errors(overrides, words):
    with pytest.raises(UsageError) as caught:
        resolve(None, ["data.source=csv", *overrides])
    assert words in str(caught.value)


def test_regression_needs_a_loss_for_numbers():
    with pytest.raises(UsageError, match=r"but data\.task is regression; use squared-error or huber"):
        resolve(None, ["data.source=csv", "data.path=a.csv", "data.target=y", "data.task=regression"])


def test_the_command_names_the_line_without_a_traceback(tmp_path):
    (tmp_path / "t.csv").write_text("x,y\n1,0\n2,1,1\n")
    arguments = ("data.source=csv", f"data.path={tmp_path}/t.csv", "data.target=y", "--output", str(tmp_path / "run"))
    finished = python("-m", "psgd.train", *arguments)
    assert finished.code == 3
    assert f"{tmp_path}/t.csv:3: 3 fields" in finished.stderr
    assert "Traceback" not in finished.stderr
    assert not (tmp_path / "run").exists()


def test_a_target_that_nothing_can_reach_is_refused(tmp_path):
    (tmp_path / "t.csv").write_text("a,y\n" + "".join(f"{i},{'yes' if i % 2 else 'no'}\n" for i in range(40)))
    data = ["data.source=csv", f"data.path={tmp_path}/t.csv", "data.target=y"]
    with pytest.raises(UsageError, match=r"training.target is 0.9, but there are no validation or test data"):
        load_data(resolve(None, [*data, "training.target=0.9"]).settings)
    assert load_data(resolve(None, [*data, "training.target=0.9", "data.validation=0.2"]).settings).validation
    assert "nothing is scored (data.validation: 0.1 " in load_data(resolve(None, data).settings).note
