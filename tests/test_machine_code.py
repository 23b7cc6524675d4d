"""Kernels are compiled once for a machine, whoever asks, and what is damaged, or cannot be had, is no harm."""

import pytest
from processes import mpis, python, run

JOB = (
    "data.source=synthetic",
    "data.examples=60",
    "model.hidden=[2]",
    "training.epochs=1",
    "training.precision=float64",
)
SAID = "numba compiles the inner loops"
AT_ONCE = "import psgd.compiling as c, psgd.train; c.START = 0.0; raise SystemExit(psgd.train.main())"


def test_all_processes_of_a_host_compile_once_and_a_damaged_file_is_no_harm(tmp_path):
    pytest.importorskip("numba")
    mpi = mpis()[0]
    if not (mpi.bin / "mpirun").exists():
        pytest.skip("no MPICH here: scripts/test makes an environment for each MPI")
    cache = {"XDG_CACHE_HOME": str(tmp_path / "cache")}
    job = (*JOB, "compile=always", "workers=3", "--output")
    finished = run(mpi.command(3, "-m", "psgd.train", *job, str(tmp_path / "first")), 90.0, **cache)
    assert finished.code == 0, finished
    assert finished.stderr.count(SAID) == 1
    assert "compiled by numba" in finished.stderr
    (code,) = [path for path in (tmp_path / "cache" / "psgd" / "kernels").iterdir() if path.suffix != ".lock"]

    again = python("-m", "psgd.train", *job, str(tmp_path / "again"), **cache)
    assert (again.code, SAID in again.stderr) == (0, False)
    assert again.stdout.split("parameters_sha256")[1][:70] == finished.stdout.split("parameters_sha256")[1][:70]

    code.write_bytes(code.read_bytes()[:-1] + b"?")
    (tmp_path / "numba.py").write_text("raise ImportError('no compiler today')")
    broken = cache | {"PYTHONPATH": f"{tmp_path}"}
    finished = python("-m", "psgd.train", *job, str(tmp_path / "second"), **broken)
    assert finished.code == 2
    assert "compile is always, which needs numba" in finished.stderr
    assert "no compiler today" in finished.stderr
    assert "Traceback" not in finished.stderr
    auto = python("-c", AT_ONCE, *JOB, "workers=3", "--output", str(tmp_path / "third"), **broken)
    assert (auto.code, SAID in auto.stderr) == (0, True)
    assert "compiled by numba" not in auto.stderr
    assert auto.stderr.count("the inner loops cannot be compiled") == 1


def test_a_place_that_cannot_be_written_to(tmp_path):
    pytest.importorskip("numba")
    (tmp_path / "file").write_text("no directory")
    where = {"XDG_CACHE_HOME": str(tmp_path / "file")}
    finished = python("-m", "psgd.train", *JOB, "compile=always", "--output", str(tmp_path / "run"), **where)
    assert finished.code == 2
    assert "XDG_CACHE_HOME may name a directory of yours" in finished.stderr
    assert "Traceback" not in finished.stderr
