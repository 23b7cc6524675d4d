"""Tables separated by spaces, and what is said where `data.separator` names another separator than the file has."""

from pathlib import Path

import numpy as np
import pytest

from psgd.config.settings import Csv
from psgd.core.errors import DataError
from psgd.data.dataset import Data
from psgd.data.sources.csv_table import load_table


def table(directory: Path, text: str, separator: str = "comma") -> Data:
    path = directory / "t.csv"
    path.write_text(text)
    return load_table(path, None, Csv(path=str(path), target="y", separator=separator), 0)


def test_columns_aligned_by_spaces_and_tabs(tmp_path):
    data = table(tmp_path, 'a "the name"   y\n  -1  "x  y"     0 \n\n   \n3\t z\t\t1\n', "spaces")
    assert data.preparation["columns"][1]["categories"] == ["x  y", "z"]
    np.testing.assert_array_equal(data.train.inputs, [[-1, -1], [1, 1]])
    with pytest.raises(DataError, match=r"t\.csv:3: 3 fields, but the header has 2"):
        table(tmp_path, "a y\n1 0\n1 2 3\n", "spaces")


def test_spaces_after_a_comma_may_come_before_a_quote(tmp_path):
    data = table(tmp_path, 'a,   name,    y\n1,   "x, y", 0\n3,   z,      1\n')
    assert data.preparation["columns"][1]["categories"] == ["x, y", "z"]


@pytest.mark.parametrize("separator", ["comma", "spaces"])
@pytest.mark.parametrize(
    ("text", "words"),
    [
        (
            "size;y\n1;0\n",
            "separated by semicolon: separate it by (comma|spaces), or to train on it set data.separator: semicolon",
        ),
        ("2019,a,z\n1,2,0\n", "the first row of the file must be a header|separator: comma"),
        ('"size";"y"\n1;0\n', "correct the row, or data.separator, which is (comma|spaces)"),
        ("a title in words\na,b,y\n1,2,0\n", "its columns are a title in words|its columns are a, title, in, words"),
        ("a,b,z\n1,2,0\n", "its columns are a, b, z$|separator: comma"),
    ],
)
def test_an_absent_column_gets_a_hint(tmp_path, text, words, separator):
    with pytest.raises(DataError, match=words):
        table(tmp_path, text, separator)


@pytest.mark.parametrize("header", ["size   y", "a\tb b\ty", "a;b;y", "  size y", "the size;b;y"])
def test_the_hint_can_be_followed(tmp_path, header):
    """The separator that the message names reads the file."""
    text = f"{header}\n" + "".join(header.replace("size", n).replace("y", n) + "\n" for n in "01")
    with pytest.raises(DataError, match=r"no column 'y'; the header seems to be separated by") as caught:
        table(tmp_path, text)
    assert table(tmp_path, text, str(caught.value).rpartition(": ")[2]).train.classes == 2
