"""The examples and benchmarks that the README names run, and reach the results that they state."""

import json
import re
import sys
from pathlib import Path

import pytest
from processes import mpi, python, run
from safetensors.numpy import load_file

from psgd.config.resolve import resolve
from psgd.core.errors import UsageError

__all__ = ["mpi"]


@pytest.fixture(scope="module")
def alone() -> list[str]:
    finished = python("configs/own_model.py")
    assert finished.code == 0, finished
    return finished.stdout.splitlines()


def test_own_model_in_one_process(alone):
    accuracies = [float(found) for found in re.findall(r"accuracy (0\.\d+)", "\n".join(alone))]
    assert len(accuracies) == 2
    assert min(accuracies) > 0.94
    assert re.fullmatch(r"sha256 [0-9a-f]{64}", alone[-1])


def test_own_model_under_mpirun_prints_once_and_has_the_same_bits(mpi, alone):
    finished = run(mpi.command(2, "configs/own_model.py"))
    assert finished.code == 0, finished
    assert finished.stderr == ""
    lines = finished.stdout.splitlines()
    assert len(lines) == len(alone)
    assert lines[-1] == alone[-1]
    assert "2 mpi process" in lines[-2]


@pytest.mark.parametrize("strategy", ["gradient-averaging", "parameter-averaging", "weighted-averaging"])
def test_housing_finds_the_line(tmp_path, strategy):
    """Slope 2.5 and intercept 1, both within 2 %."""
    directory = str(tmp_path / "run")
    finished = python("-m", "psgd.train", "configs/housing.yaml", f"strategy.name={strategy}", "--output", directory)
    assert finished.code == 0, finished
    found = load_file(tmp_path / "run" / "model.safetensors")
    assert found["layers.1.weights"].item() == pytest.approx(2.5, rel=0.02)
    assert found["layers.1.biases"].item() == pytest.approx(1.0, rel=0.02)


def test_the_linear_source_is_for_regression():
    with pytest.raises(UsageError, match=r"model.loss is cross-entropy, .* but data.source is linear"):
        resolve(None, ["data.source=linear"])


def test_bench_batch_loop_measures_every_way():
    finished = python("scripts/bench_batch_loop.py", "--quick", "--json")
    assert finished.code == 0, finished
    report = json.loads(finished.stdout)
    ways = [row["way"] for row in report["rows"]]
    assert ways[:2] == ["looping over the examples", "vectorised"]
    assert sum("2 threads" in way for way in ways) == 3
    assert sum("2 processes" in way for way in ways) in (0, 3)
    assert all(row["seconds_a_batch"] > 0 for row in report["rows"])
    assert report["rows"][1]["times_the_loop"] > 1
    assert report["blas"]


def test_bench_step_measures_what_is_installed():
    """A missing rival is reported. The script itself compares the loss of those that are installed with psgd's."""
    finished = python("scripts/bench_step.py", "--quick", "--json", "--networks", "E")
    assert finished.code == 0, finished
    report = json.loads(finished.stdout)
    assert [row["network"] for row in report["rows"]] == ["E"]
    for row in report["rows"]:
        assert row["psgd us"] > 0
        assert row["gathering us"] > 0
        for rival, install in (("PyTorch", "pip install torch"), ("JAX", "pip install jax")):
            assert (f"{rival} us" in row) == (install not in finished.stderr)


def test_bench_combine_agrees_with_allreduce():
    if not (Path(sys.executable).parent / "mpirun").exists():
        pytest.skip("no mpirun in this environment: pip install mpi4py mpich")
    finished = python("scripts/bench_combine.py", "--quick", "--json")
    assert finished.code == 0, finished
    rows = json.loads(finished.stdout)["rows"]
    assert [(row["ranks"], row["network"]) for row in rows] == [(n, name) for n in (2, 4) for name in "CA"]
