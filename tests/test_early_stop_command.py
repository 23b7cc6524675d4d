"""Stopping early as the command psgd.train shows it: the run directory, under mpirun, what is said."""

import json
from pathlib import Path
from typing import Any

import pytest
from best_evaluation import by_hand
from command import refused, train
from processes import Mpi, mpi, python, run
from run_files import read_metrics, read_summary

from psgd.training.early_stop import StopRule

__all__ = ["mpi"]

EARLY = ("data.validation=0.1", "training.early_stop.patience=2", "training.epochs=100", "--quiet")
KEYS = ("status", "rounds", "best_epoch", "best_round", "validation_accuracy", "test_loss", "parameters_sha256")


def summary(finished: Any, directory: Path) -> dict[str, Any]:
    """What the run kept, with all digits."""
    assert finished.code == 0, finished
    found = read_summary(directory)
    return {key: found[key] for key in KEYS}


@pytest.fixture(scope="module")
def alone(tmp_path_factory) -> tuple[Path, dict[str, Any]]:
    directory = tmp_path_factory.mktemp("early") / "run"
    return directory, summary(train(*EARLY, "group=serial", "--output", directory), directory)


def test_the_run_directory_holds_the_best_parameters(alone):
    """The model's own scores on the validation data are those of the summary, and of the best line of the metrics."""
    directory, found = alone
    rows = [row for row in read_metrics(directory) if "validation_loss" in row]
    last, best = by_hand([row["validation_accuracy"] for row in rows], StopRule(2, 0.0))
    assert last == len(rows) - 1
    assert found["status"] == "stopped-early"
    assert (found["rounds"], found["best_round"]) == (rows[last]["round"], rows[best]["round"])
    assert round(found["best_epoch"], 6) == rows[best]["epoch"]
    assert (found["validation_accuracy"], found["test_loss"]) == (
        rows[best]["validation_accuracy"],
        rows[best]["test_loss"],
    )
    check = (
        "import sys, numpy as np, psgd\n"
        "from psgd.config.resolve import resolve\n"
        "from psgd.data.sources.load import load_data\n"
        "data = load_data(resolve(sys.argv[1] + '/config.yaml', []).settings)\n"
        "part, model = data.validation, psgd.load(sys.argv[1])\n"
        "print(float(np.mean(model.predict(part.inputs) == part.targets)))\n"
    )
    scored = python("-c", check, str(directory))
    assert float(scored.stdout) == found["validation_accuracy"], scored


def test_the_same_stop_under_mpirun(alone, mpi: Mpi, tmp_path):
    directory = tmp_path / "run"
    found = summary(run(mpi.command(2, "-m", "psgd.train", *EARLY, "--output", str(directory))), directory)
    assert found == alone[1]


def test_what_is_said(tmp_path):
    arguments = [argument for argument in EARLY if argument != "--quiet"]
    finished = train(*arguments, "training.early_stop.minimum=0.01", "--output", tmp_path / "run")
    assert finished.code == 0
    said = [line for line in finished.stderr.splitlines() if "stopped early" in line]
    assert len(said) == 1
    assert said[0].startswith("[0] stopped early, after 2 evaluations without an improvement of more than 0.01; the ")
    assert "result is the best evaluation, of epoch " in said[0]
    shown = float(said[0].rpartition("validation accuracy ")[2])
    assert shown == round(json.loads(finished.stdout)["validation_accuracy"], 4)


def test_it_needs_validation_data(tmp_path):
    finished = train("training.early_stop={patience: 3}", "--output", tmp_path / "run")
    refused(finished, 2, "training.early_stop is judged on validation data, but data.validation is 0; set data.")
