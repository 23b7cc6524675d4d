"""Kernels are compiled once for a machine, whoever asks, and what is damaged, or cannot be had, is no harm."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from processes import ROOT, Running, mpis, python, run

from psgd.backends.numba import code_cache, machine_code

JOB = (
    "data.source=synthetic",
    "data.examples=60",
    "model.hidden=[2]",
    "training.epochs=1",
    "training.precision=float64",
)
SAID = "numba compiles the inner loops"
AT_ONCE = "import psgd.backends.compiling as c, psgd.train; c.START = 0.0; raise SystemExit(psgd.train.main())"


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
    broken = cache | {"PYTHONPATH": f"{tmp_path}{os.pathsep}{ROOT}"}
    finished = python("-m", "psgd.train", *job, str(tmp_path / "first"), "--overwrite", **broken)
    assert finished.code == 2
    assert "compile is always, which needs numba" in finished.stderr
    assert "no compiler today" in finished.stderr
    assert "Traceback" not in finished.stderr
    assert (tmp_path / "first" / "model.safetensors").exists()

    (tmp_path / "go.py").write_text(AT_ONCE)
    auto = run(mpi.command(3, str(tmp_path / "go.py"), *JOB, "workers=3", "--output", str(tmp_path / "2")), **broken)
    assert (auto.code, auto.stderr.count(SAID)) == (0, 1), auto
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


def test_what_one_process_cannot_compile_none_goes_on_with(tmp_path):
    pytest.importorskip("numba")
    mpi = mpis()[0]
    if not (mpi.bin / "mpirun").exists():
        pytest.skip("no MPICH here: scripts/test makes an environment for each MPI")
    (tmp_path / "file").write_text("no directory")
    job = ("-m", "psgd.train", *JOB, "compile=always", "workers=2", "--output", str(tmp_path / "run"))
    first, *one = mpi.command(1, *job)
    other = [one[0], one[1], "-env", "XDG_CACHE_HOME", str(tmp_path / "file"), *one[2:]]
    finished = run([first, *one, ":", *other])
    assert finished.code == 2
    assert finished.stderr.count("compile is always, which needs numba") == 1
    assert "[1] psgd: " in finished.stderr


def test_the_directory_where_we_are_is_not_looked_into(tmp_path):
    """Its modules may have the names of others."""
    for name in ("json", "numba", "psgd"):
        (tmp_path / f"{name}.py").write_text("raise SystemExit('this module is not meant')")
    command = code_cache.python("import json, psgd, sys; print(psgd.__file__)")
    finished = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=40)
    assert finished.returncode == 0, finished
    assert Path(finished.stdout.strip()) == ROOT / "psgd" / "__init__.py"


def test_who_waited_for_a_failure_does_not_try_again(tmp_path):
    lock = tmp_path / "a.lock"
    with pytest.raises(OSError, match="disk"), code_cache._alone(lock):
        raise OSError("disk")
    with code_cache._alone(lock):  # who comes later does
        pass
    stamp = lock.stat().st_mtime_ns + 10**12
    os.utime(lock, ns=(stamp, stamp))
    with pytest.raises(LookupError, match="in vain"), code_cache._alone(lock):
        pytest.fail("tried again")


def test_code_is_read_if_it_is_whole(tmp_path):
    path = tmp_path / "code"
    assert code_cache._read(path) is None
    path.write_bytes(b"")
    assert code_cache._read(path) is None
    code = code_cache._read(_kept())
    assert code is not None
    whole = _kept().read_bytes()
    for damaged in (whole[:-1], whole[1:], whole[:100] + b"?" + whole[101:]):
        path.write_bytes(damaged)
        assert code_cache._read(path) is None


def _kept() -> Path:
    pytest.importorskip("numba")
    machine_code.kernels(np.dtype(np.float32))
    return code_cache.place(np.dtype(np.float32))


def test_a_signal_while_it_compiles_is_for_psgd_to_heed(tmp_path):
    """It goes to the whole group, as from a terminal; the compiler is not in it."""
    pytest.importorskip("numba")
    begun = tmp_path / "begun"
    fake = f"import time; open({str(begun)!r}, 'w'); time.sleep(1); raise ImportError('no compiler today')"
    (tmp_path / "numba.py").write_text(fake)
    variables = {"XDG_CACHE_HOME": str(tmp_path), "PYTHONPATH": f"{tmp_path}{os.pathsep}{ROOT}"}
    job = Running([sys.executable, "-c", AT_ONCE, *JOB, "--output", str(tmp_path / "run")], **variables)
    job.wait_until(begun.exists)
    os.killpg(job.process.pid, signal.SIGTERM)
    finished = job.finish()
    assert finished.code == 75, finished
    assert "no compiler today" in finished.stderr
