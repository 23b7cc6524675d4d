"""The report of a comparison from its file: the CSV, the same again, and the command psgd.report."""

import csv
import io
import json
import re
from pathlib import Path

import pytest
from compare_findings import times
from compare_pages import page, without_png
from compare_results import results

import psgd.compare.report.write as write
from psgd.compare.results_file import read_results
from psgd.core.errors import DataError
from psgd.report import main

__all__ = ["page", "without_png"]  # fixtures


def test_the_csv_has_every_evaluation_and_leaves_out_what_is_unknown(tmp_path, without_png):
    found = results()
    cell = next(cell for cell in found["cells"] if cell["arm"] == "sync" and cell["workers"] == 4)
    cell["runs"][0]["measured"] = None
    cell["runs"][0]["series"]["validation_loss"][1] = None
    write.write_report(tmp_path, found, times)
    rows = list(csv.DictReader(io.StringIO((tmp_path / "series.csv").read_text())))
    assert len(rows) == sum(len(run["series"]["examples"]) for cell in found["cells"] for run in cell["runs"])
    mine = [
        r for r in rows if (r["arm"], r["workers"], r["speeds"], r["seed"]) == ("sync", "4", cell["at"]["speeds"], "0")
    ]
    second, run = mine[1], cell["runs"][0]
    assert int(second["examples"]) == run["series"]["examples"][1]
    assert float(second["epochs"]) == 2.0
    assert int(second["bytes"]) == run["series"]["rounds"][1] * cell["message_bytes"]
    assert float(second["test_accuracy"]) == pytest.approx(run["series"]["test_accuracy"][1])
    assert second["validation_loss"] == ""
    assert second["measured seconds: here"] == ""
    assert {row["workers"] for row in rows if row["bytes"] == "0"} == {"1"}  # who has nobody to send to
    expected = times(cell, run, found["prices"]["slow"])
    assert expected
    assert float(second["modelled seconds: slow"]) == pytest.approx(expected.seconds[1])


def test_a_figure_of_a_point_with_a_long_name_is_a_file_all_the_same(tmp_path, without_png):
    """A file system refuses a name of more than 255 bytes."""
    found, label = results(), "ü" * 400
    for part in (*found["cells"], *found["findings"]["tables"]):
        part["at"] = {axis: value + label for axis, value in part["at"].items()}
    written = {path.name for path in write.write_report(tmp_path, found, times)}
    curves = [name for name in written if name.startswith("curves-")]
    assert len(curves) == len({tuple(cell["at"].items()) for cell in found["cells"]})


def test_it_is_rebuilt_the_same_from_the_file(tmp_path, without_png):
    found = results()
    (tmp_path / "results.json").write_text(json.dumps(found))
    first = {path: path.read_bytes() for path in write.write_report(tmp_path, found, times)}
    again = write.write_report(tmp_path, read_results(tmp_path), times)
    assert {path: path.read_bytes() for path in again} == first


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (None, "does not exist: give the directory of a comparison"),
        ("{", "results.json:1: not JSON"),
        ("[]", "has no schema version"),
        ('{"schema": 1}', "has schema 1; this psgd reads 2"),
        ('{"schema": 2, "cells": []}', "has no arms, axes, base, budget, prices, reference, seeds, target; remove it"),
    ],
)
def test_results_that_cannot_be_read_are_refused(tmp_path, content, words):
    if content is not None:
        (tmp_path / "results.json").write_text(content)
    with pytest.raises(DataError, match=re.escape(words)):
        read_results(tmp_path)


def test_the_command_computes_the_findings_anew_and_prints_where(tmp_path, capsys, without_png):
    found = results(evaluations=4)
    found["findings"] = {"answer": ["Findings of an earlier psgd."]}
    (tmp_path / "results.json").write_text(json.dumps(found))
    for path in (tmp_path, tmp_path / "results.json"):
        assert main([str(path)]) == 0
        assert Path(capsys.readouterr().out.strip()) == tmp_path / "report.html"
    page = (tmp_path / "report.md").read_text()
    assert page.startswith("# Which strategy")
    assert "Findings of an earlier psgd." not in page


def test_the_command_fails_with_one_line(tmp_path, capsys):
    assert main([str(tmp_path / "nowhere")]) == 3
    assert capsys.readouterr().out == ""
