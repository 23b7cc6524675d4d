"""Runs of tests/fit_run.py, and whether another has their results."""

from pathlib import Path

import fit_run
import pytest
from processes import Mpi, installed_mpi
from run_files import read_metrics

import psgd


@pytest.fixture
def mpich() -> Mpi:
    return installed_mpi("mpich")


@pytest.fixture(scope="module")
def unbroken() -> psgd.Fitted:
    return fit_run.fit(None)


@pytest.fixture(scope="module")
def finished(tmp_path_factory, unbroken) -> Path:
    directory = tmp_path_factory.mktemp("runs") / "run"
    fit_run.fit(directory)
    return directory


def same(fitted: psgd.Fitted, unbroken: psgd.Fitted) -> None:
    for key in ("parameters_sha256", "worker_steps", "last_weights", "test_accuracy", "rounds", "examples"):
        assert fitted.summary[key] == unbroken.summary[key], key
    assert rows(fitted.history) == rows(unbroken.history)


def rows(history: list[dict]) -> list[dict]:
    return [{key: value for key, value in row.items() if not key.endswith("seconds")} for row in history]


def metrics(directory: Path) -> list[dict]:
    """Without times, and with six digits of losses, which are sums over segments; the clock cuts these."""
    found = rows(read_metrics(directory))
    return [row | {"loss": f"{row['loss']:.6g}"} if "loss" in row else row for row in found]
