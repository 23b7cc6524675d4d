"""Packages that psgd can do without: one line says what to install where one is missing, broken or too old."""

import json
from pathlib import Path
from typing import Any

import pytest
from command import run
from compare_findings import times
from compare_results import results
from processes import ROOT, python

from psgd.compare.report import write
from psgd.compare.single_run import picture
from psgd.core.errors import UsageError
from psgd.core.optional import LONGEST, what_to_install

__all__ = ["run"]  # a fixture

BROKEN = "raise AttributeError('_ARRAY_API not found\\nwas it built for another numpy?')\n"
REASON = "AttributeError: _ARRAY_API not found was it built for another numpy?"
# A module and the commands that import it, with RUN and NEW for a run and a new path, and how their message begins.
COMMANDS = [
    ("matplotlib", "matplotlib", ["plot", "RUN", "--output", "NEW.png"], "plots need"),
    ("onnx", "onnx", ["export", "RUN", "--to", "onnx", "--output", "NEW"], "--to onnx needs"),
    ("sklearn", "scikit-learn", ["export", "RUN", "--to", "sklearn", "--output", "NEW"], "--to sklearn needs"),
    ("shtab", "shtab", ["completion", "bash"], "completion needs"),
    ("ray", "ray", ["train", "digits", "group=ray", "--output", "NEW"], "group ray needs"),
]


def broken(directory: Path, *modules: str) -> str:
    """A PYTHONPATH on which these modules raise when they are imported."""
    for module in modules:
        (directory / f"{module}.py").write_text(BROKEN)
    return f"{directory}:{ROOT}"


def test_the_reason_is_one_short_line_and_a_missing_package_is_another_matter_than_a_broken_one():
    missing = ModuleNotFoundError("No module named 'onnx'", name="onnx")
    assert what_to_install(missing, "onnx", "psgd[export]") == (
        "onnx (No module named 'onnx'): pip install 'psgd[export]'"
    )
    assert what_to_install(missing, "onnx", "onnx").endswith(": pip install onnx")
    newer = ModuleNotFoundError("No module named 'numpy.rec'", name="numpy.rec")
    assert what_to_install(newer, "onnx", "psgd[export]") == (
        "onnx, which cannot be imported (ModuleNotFoundError: No module named 'numpy.rec'): pip install -U onnx"
    )
    long = what_to_install(TypeError("Descriptors\n  cannot" + " be" * 500), "onnx", "psgd[export]")
    assert long.startswith("onnx, which cannot be imported (TypeError: Descriptors cannot be be")
    assert long.endswith("...): pip install -U onnx")
    assert len(long) < LONGEST + 60


@pytest.mark.parametrize(("module", "package", "command", "begins"), COMMANDS)
def test_a_broken_package_is_one_line(run, tmp_path, module, package, command, begins):
    places = {"RUN": str(run), "NEW": str(tmp_path / "new"), "NEW.png": str(tmp_path / "new.png")}
    words = [places.get(word, word) for word in command]
    finished = python("-m", "psgd", *words, PYTHONPATH=broken(tmp_path, module))
    line = f"psgd: {begins} {package}, which cannot be imported ({REASON}): pip install -U {package}\n"
    assert (finished.code, finished.stdout, finished.stderr) == (2, "", line)
    assert not list(tmp_path.glob("new*"))


def test_a_broken_mpi4py_is_one_line(tmp_path):
    finished = python(
        "-m",
        "psgd",
        "train",
        "digits",
        "group=mpi",
        "--output",
        str(tmp_path / "r"),
        PYTHONPATH=broken(tmp_path, "mpi4py"),
    )
    assert finished.code == 2
    assert finished.stderr == (
        "psgd: group mpi needs mpi4py and an MPI (_ARRAY_API not found): pip install 'psgd[mpi]'\n"
    )


def test_a_broken_scikit_learn_is_an_import_error_that_says_what_to_install(tmp_path):
    finished = python("-c", "import psgd.sklearn", PYTHONPATH=broken(tmp_path, "sklearn"))
    last = finished.stderr.splitlines()[-1]
    assert last.endswith(
        f"psgd.sklearn needs scikit-learn, which cannot be imported ({REASON}): pip install -U scikit-learn"
    )


def test_the_metrics_of_a_run_are_a_list_where_pandas_is_broken(run, tmp_path):
    code = f"import json, psgd; print(json.dumps(psgd.Run({str(run)!r}).metrics))"
    finished = python("-c", code, PYTHONPATH=broken(tmp_path, "pandas"))
    assert json.loads(finished.stdout)[0]["round"] == 1, finished


def test_a_comparison_whose_matplotlib_is_broken_has_its_report_without_png(tmp_path, monkeypatch, capfd):
    def fails() -> Any:
        raise UsageError("plots need another matplotlib")

    pytest.importorskip("matplotlib", reason="the report extra is not installed")
    monkeypatch.setattr(picture, "import_matplotlib", fails)
    monkeypatch.setattr(write.png, "import_matplotlib", fails)
    written = write.write_report(tmp_path, results(), times)
    assert {path.suffix for path in written} == {".html", ".md", ".csv", ".svg"}
    assert all(path.exists() for path in written)
    assert capfd.readouterr().err == "psgd: the report has no figures as PNG: plots need another matplotlib\n"
