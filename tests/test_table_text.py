"""CSV tables as other programs write them: missing values, decimal marks, compression, quotes and separators."""

import bz2
import gzip
import lzma

import pytest
from tables import arrays, table

from psgd.config.resolve import resolve
from psgd.core.errors import DataError
from psgd.data.sources.load import load_data


@pytest.mark.parametrize("missing", ["", "NA", "None", "<NA>", "nan", "#N/A", "-1.#IND", "NULL", " n/a ", "?"])
@pytest.mark.parametrize("first", [True, False])
def test_missing_values_as_other_programs_write_them(tmp_path, missing, first):
    rows = [f"{missing},0", "1,0"] if first else ["1,0", f"{missing},0"]
    data = table(tmp_path, "\n".join(["a,y", *rows, "3,1", "5,1"]) + "\n")
    assert data.preparation["columns"][0] | {"mean": 0, "deviation": 0} == {
        "name": "a", "kind": "number", "missing": 3.0, "mean": 0, "deviation": 0,
    }  # fmt: skip


@pytest.mark.parametrize("text", ["5,5", "1.234,5", "1 000", "$5", "5 %", "(5)", "1'000", "1_000"])
def test_numbers_in_another_notation_are_no_categories_unless_asked_for(tmp_path, text):
    rows = f'a;y\n"{text}";0\n"{text}";1\n'
    with pytest.raises(DataError, match=r"t\.csv:2: a is .* which is not a number as it stands; .* data\.categorical"):
        table(tmp_path, rows, separator="semicolon")
    data = table(tmp_path, rows, separator="semicolon", categorical=["a"])
    assert data.preparation["columns"][0]["categories"] == [text]


COMMAS = 'a;town;y\n1,5;"Bern, west";-2\n;Rome;0,25\n-,5e1;Rome;+7,\n'


def test_numbers_with_a_decimal_comma(tmp_path):
    """Excel saves tables so in most of Europe. Texts keep their commas."""
    points = 'a,town,y\n1.5,"Bern, west",-2\n,Rome,0.25\n-.5e1,Rome,+7.\n'
    wanted = table(tmp_path, points, task="regression")
    found = table(tmp_path, COMMAS, task="regression", separator="semicolon", decimal="comma")
    for one, other in zip(arrays(found), arrays(wanted), strict=True):
        assert one.tobytes() == other.tobytes()
    assert found.preparation == {**wanted.preparation, "separator": "semicolon", "decimal": "comma"}
    again = {"separator": "semicolon", "decimal": "comma", "test_path": f"{tmp_path}/t.csv"}
    test = table(tmp_path, COMMAS, task="regression", **again).test
    assert test.inputs.tobytes() == arrays(found)[0].tobytes()


@pytest.mark.parametrize("value", ["1.5", "1.234,5", "1,234,5"])
def test_with_a_decimal_comma_a_point_may_separate_groups_and_is_refused(tmp_path, value):
    for text in (f"a;y\n{value};0\n2;1\n", f"a;y\n2;1\n{value};0\n"):
        with pytest.raises(DataError, match=r"which is not a number as it stands; write it .* a decimal comma alone"):
            table(tmp_path, text, separator="semicolon", decimal="comma")


@pytest.mark.parametrize("text", ["a;y\n1,5;0\n2;1\n", "a;y\n2;1\n1,5;0\n"])
def test_the_other_decimal_mark_is_named(tmp_path, text):
    with pytest.raises(DataError, match=r"a decimal point alone, or set data\.decimal: comma if that is what it has"):
        table(tmp_path, text, separator="semicolon")
    other = text.replace(",", ".")
    with pytest.raises(DataError, match=r"a decimal comma alone, or set data\.decimal: point if that is what it has"):
        table(tmp_path, other, separator="semicolon", decimal="comma")


@pytest.mark.parametrize("compress", [gzip.compress, bz2.compress, lzma.compress])
def test_compressed_tables(tmp_path, compress):
    packed = compress(b"a,y\n1,0\n3,1\n")
    path = tmp_path / "t.csv.packed"
    path.write_bytes(packed)
    settings = resolve(None, ["data.source=csv", f"data.path={path}", "data.target=y"]).settings
    assert arrays(load_data(settings))[0].tolist() == [[-1], [1]]
    path.write_bytes(packed[:-9])
    with pytest.raises(DataError, match=r"data are truncated or corrupt .* bytes found\); replace it"):
        load_data(settings)
    path.write_bytes(b"PK\x03\x04" + packed)
    with pytest.raises(DataError, match="a zip archive; unpack it first"):
        load_data(settings)


def test_quotes_byte_order_marks_line_ends_and_blank_lines(tmp_path):
    text = '\ufeff"a",name,y\r\n1.5,"Smith, ""J""\r\nsecond line",0\r\n\r\n -2e0 , x ,1\r\n'
    data = table(tmp_path, text)
    assert data.preparation["columns"][0] | {"deviation": 0} == {
        "name": "a", "kind": "number", "missing": -0.25, "mean": -0.25, "deviation": 0,
    }  # fmt: skip
    assert data.preparation["columns"][1]["categories"] == ['Smith, "J"\r\nsecond line', "x"]


@pytest.mark.parametrize(("separator", "character"), [("semicolon", ";"), ("tab", "\t")])
def test_other_separators(tmp_path, separator, character):
    data = table(tmp_path, "a,y\n1,0\n3,1\n".replace(",", character), separator=separator)
    assert arrays(data)[0].tolist() == [[-1], [1]]


def test_a_file_that_is_not_utf_8_is_an_error(tmp_path):
    (tmp_path / "u.csv").write_bytes(b"x,y\n1,0\n2,\xe9\n")
    with pytest.raises(DataError, match=r"u.csv:3: not UTF-8"):
        load_data(resolve(None, ["data.source=csv", f"data.path={tmp_path}/u.csv", "data.target=y"]).settings)
