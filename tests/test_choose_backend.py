"""Which jobs run on numba."""

import json
import sys

import numpy as np
import pytest
from command import train
from processes import ROOT, installed_mpi, python, run

from psgd.backends.numpy.backend import NUMPY
from psgd.config.resolve import resolve
from psgd.core import log
from psgd.core.errors import UsageError
from psgd.data.sources.load import load_data
from psgd.jobs.build import build_job
from psgd.jobs.choose.backend import START_SECONDS, saves_time
from psgd.jobs.fit.task import build_task
from psgd.learners.mlp import MLP
from psgd.training.job import Job

SPARSE = ("data.source=synthetic-sparse", "data.features=500", "model.hidden=[]", "model.loss=hinge")
LONG = "training.epochs=1e6"


def built(*overrides: str) -> Job:
    settings = resolve(None, ["data.source=digits", *overrides]).settings
    return build_job(settings, load_data(settings))


def backends(job: Job) -> set[str]:
    """The backends of all parts of a job that have one."""
    found = {job.backend.name, job.strategy.application.optimizer.backend.name}  # type: ignore[attr-defined]
    if isinstance(job.learner, MLP):
        found.add({"NumpyPasses": "numpy", "NumbaPasses": "numba"}[type(job.learner._passes).__name__])
    return found


def gradient_averaging(*overrides: str) -> Job:
    return built("strategy.name=gradient-averaging", *overrides)


def test_long_jobs_are_compiled():
    pytest.importorskip("numba")
    assert backends(gradient_averaging("training.epochs=20")) == {"numpy"}
    assert backends(gradient_averaging(LONG)) == {"numba"}
    assert backends(gradient_averaging(LONG, "optimizer.name=sgd")) == {"numba"}
    assert backends(gradient_averaging(LONG, *SPARSE)) == {"numba"}


def test_the_config_may_choose_the_backend():
    pytest.importorskip("numba")
    assert backends(gradient_averaging("training.epochs=1", "compile=always")) == {"numba"}
    assert backends(gradient_averaging(LONG, "compile=never")) == {"numpy"}


@pytest.mark.parametrize(
    "work",
    [{"examples": 100, "sizes": (1, 20_000)}, {"examples": 100, "sizes": (70_000, 1)}, {"updated": 1_500_000}],
)
def test_compiling_depends_on_the_work_of_all_steps(work):
    """Each kind of work saves about a millisecond a step."""
    work = {"examples": 1, "sizes": (), "updated": 0, **work}
    assert saves_time(1000 * START_SECONDS, **work)
    assert not saves_time(800 * START_SECONDS, **work)


def test_the_optimizer_of_a_users_function_is_compiled():
    pytest.importorskip("numba")
    settings = resolve(None, [LONG, "strategy.name=gradient-averaging", "group=serial"]).settings
    X, y = np.ones((100, 3)), np.ones(100)
    job = build_task(settings, lambda p, X, y: p, np.ones(50_000), (X, y), None, None, None, False).job()
    assert job.strategy.application.optimizer.backend.name == "numba"


@pytest.mark.parametrize("package", ["numba", "llvmlite"])
def test_without_numba_jobs_run_on_numpy(monkeypatch, capfd, package):
    for name in [name for name in sys.modules if name.startswith(("psgd.backends.numba", "numba", "llvmlite"))]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, package, None)
    assert gradient_averaging(LONG).backend is NUMPY
    with pytest.raises(UsageError, match=r"compile is always, which needs numba.*: pip install 'psgd\[fast\]'"):
        built("compile=always")
    assert capfd.readouterr().err == ""


def test_a_broken_numba_is_reported_once(monkeypatch, capfd):
    pytest.importorskip("numba")
    from psgd.backends.numba import backend

    def broken(*_: object, **__: object) -> None:
        raise RuntimeError("LLVM has a bad day")

    monkeypatch.setattr(log, "_said", set())
    monkeypatch.setattr(backend, "compile_network", broken)
    for _ in range(2):
        assert backends(gradient_averaging(LONG)) == {"numpy"}
    assert capfd.readouterr().err == "psgd: the inner loops cannot be compiled: LLVM has a bad day\n"
    with pytest.raises(UsageError, match=r"which needs a numba that works \(LLVM has a bad day\)"):
        built("compile=always")


def test_too_little_memory_is_not_blamed_on_numba(monkeypatch, capfd):
    pytest.importorskip("numba")
    from psgd.backends.numba import backend

    def large(*_: object, **__: object) -> None:
        raise MemoryError("Unable to allocate 9 TiB")

    monkeypatch.setattr(backend, "compile_network", large)
    assert backends(gradient_averaging(LONG)) == {"numpy"}
    assert capfd.readouterr().err == ""
    with pytest.raises(MemoryError, match="9 TiB"):
        built("compile=always")


@pytest.mark.parametrize(
    ("overrides", "reason"),
    [
        (("model.hidden=[5,1]", "training.batch_size_per_worker=1"), "batches of one example and layers of one unit"),
        ((), "other bits than numpy's"),
    ],
)
def test_compile_always_is_an_error_where_numba_cannot_do_the_batch(monkeypatch, capfd, overrides, reason):
    """It never falls back to numpy silently."""
    pytest.importorskip("numba")
    from psgd.backends.numba import network_passes

    if not overrides:
        monkeypatch.setattr(network_passes, "_results", lambda passes, *_: type(passes).__name__)
    assert backends(gradient_averaging(LONG, *overrides)) == {"numpy"}
    with pytest.raises(UsageError, match=f"compile is always, but numba has .*{reason}.*; use compile: auto"):
        built("compile=always", *overrides)
    assert capfd.readouterr().err == ""


def test_a_run_begun_on_numba_and_resumed_on_numpy_has_the_same_bits(tmp_path):
    """Begun in two threads with compiled loops, resumed in one process without."""
    pytest.importorskip("numba")
    plain = train("training.epochs=3", "compile=never", "cluster.processes=1", "--output", tmp_path / "plain")
    fast = train("training.epochs=1", "compile=always", "cluster.processes=2", "--output", tmp_path / "half")
    over = ("training.epochs=3", "compile=never", "cluster.processes=1")
    whole = train(*over, "--resume", "--output", tmp_path / "half")
    assert ["compiled by numba" in finished.stderr for finished in (plain, fast, whole)] == [False, True, False]
    hashes = [json.loads(finished.stdout)["parameters_sha256"] for finished in (plain, fast, whole)]
    assert hashes[0] == hashes[2] != hashes[1]


def test_compile_always_fails_before_a_run_directory_is_made(tmp_path):
    pytest.importorskip("numba")
    (tmp_path / "numba.py").write_text("raise ImportError('no compiler today')")
    variables = {"PYTHONPATH": f"{tmp_path}:{ROOT}"}
    finished = python("-m", "psgd.train", "compile=always", "--output", str(tmp_path / "run"), **variables)
    assert finished.code == 2, finished
    assert "which needs a numba that works (no compiler today): pip install -U numba" in finished.stderr
    assert "Traceback" not in finished.stderr
    assert not (tmp_path / "run").exists()


def test_numba_under_mpirun_has_the_bits_of_numpy(tmp_path):
    """With MPICH only: Open MPI's environment has no numba."""
    pytest.importorskip("numba")
    mpi = installed_mpi("mpich")
    job = ("-m", "psgd.train", "training.epochs=2", "optimizer.name=sgd", "--quiet", "--output")
    fast = run(mpi.command(3, *job, str(tmp_path / "fast"), "compile=always"))
    plain = python(*job, str(tmp_path / "plain"), "compile=never", "group=serial")
    one, other = (json.loads(finished.stdout) for finished in (fast, plain))
    assert (one["processes"], other["processes"]) == (3, 1)
    assert one["parameters_sha256"] == other["parameters_sha256"]
