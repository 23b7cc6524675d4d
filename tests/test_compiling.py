"""Which jobs are compiled."""

import json
import sys
from importlib.metadata import PackageNotFoundError
from typing import Any

import pytest
from processes import mpis, python, run
from psgd.backends.compiling import START, saves_time
from psgd.backends.numba.machine_code import _had
from test_train import train

from psgd.config.resolve import resolve
from psgd.core.errors import UsageError
from psgd.data.dataset import Dataset
from psgd.data.sources.load import load
from psgd.jobs.build import build_job
from psgd.learners.mlp import MLP
from psgd.training.job import Job

SPARSE = ("data.source=synthetic-sparse", "data.features=500", "model.hidden=[]", "model.loss=hinge")


def built(*overrides: str) -> Job:
    settings = resolve(None, ["data.source=digits", *overrides]).settings
    return build_job(settings, load({"seed": 0, **settings["data"]}))


def kinds(job: Job) -> tuple[str, bool, str]:
    """(passes, whether rows are gathered by compiled code, rule)."""
    rule: Any = job.strategy.optimizer.rule  # type: ignore[attr-defined]
    passes = type(job.learner._passes).__name__ if isinstance(job.learner, MLP) else ""
    return passes, isinstance(job.data.train, Dataset) and job.data.train.compiled, type(rule).__name__


def gradient_averaging(*overrides: str) -> Job:
    return built("strategy.name=gradient-averaging", *overrides)


def version_of_nothing(name: str) -> str:
    raise PackageNotFoundError(name)


PLAIN = ("NumpyPasses", False, "Adam")
COMPILED = ("CompiledPasses", True, "OnePass")


def test_long_jobs_are_compiled():
    pytest.importorskip("numba")
    assert kinds(gradient_averaging("training.epochs=20")) == PLAIN
    assert kinds(gradient_averaging("training.epochs=1e6")) == COMPILED
    assert kinds(gradient_averaging("training.epochs=1e6", "optimizer.name=sgd")) == ("CompiledPasses", True, "SGD")
    assert kinds(gradient_averaging("training.epochs=1e6", *SPARSE)) == ("", False, "OnePass")


def test_the_config_may_say_so():
    pytest.importorskip("numba")
    assert kinds(gradient_averaging("training.epochs=1", "compile=always")) == COMPILED
    assert kinds(gradient_averaging("training.epochs=1e6", "compile=never")) == PLAIN


@pytest.mark.parametrize(
    "work",
    [{"examples": 100, "sizes": (1, 20_000)}, {"examples": 100, "sizes": (70_000, 1)}, {"updated": 1_500_000}],
)
def test_it_is_a_matter_of_the_work(work):
    """Of which a step saves about a millisecond."""
    work = {"examples": 1, "sizes": (), "updated": 0, **work}
    assert saves_time(1000 * START, **work)
    assert not saves_time(800 * START, **work)


@pytest.mark.parametrize("package", ["numba", "llvmlite"])
def test_without_numba_nothing_is(monkeypatch, package):
    _had.cache_clear()
    if package == "llvmlite":
        monkeypatch.setitem(sys.modules, package, None)
    else:
        monkeypatch.setattr("psgd.backends.numba.code_cache.version", version_of_nothing)
    assert kinds(gradient_averaging("training.epochs=1e6")) == PLAIN
    with pytest.raises(UsageError, match=r"compile is always, which needs numba.*: pip install numba"):
        built("compile=always")
    _had.cache_clear()


def test_the_command_trains_to_the_same_bits_by_either(tmp_path):
    """Begun in threads with compiled loops, continued alone without."""
    pytest.importorskip("numba")
    plain = train("training.epochs=3", "compile=never", "cluster.processes=1", "--output", tmp_path / "plain")
    fast = train("training.epochs=1", "compile=always", "cluster.processes=2", "--output", tmp_path / "half")
    over = ("training.epochs=3", "compile=never", "cluster.processes=1")
    whole = train(*over, "--resume", "--output", tmp_path / "half")
    assert ["compiled by numba" in finished.stderr for finished in (plain, fast, whole)] == [False, True, False]
    hashes = [json.loads(finished.stdout)["parameters_sha256"] for finished in (plain, fast, whole)]
    assert hashes[0] == hashes[2] != hashes[1]


def test_under_mpirun_too(tmp_path):
    """In the environment of the tests: that for the other MPI has no numba."""
    pytest.importorskip("numba")
    mpi = mpis()[0]
    if not (mpi.bin / "mpirun").exists():
        pytest.skip("no MPICH here: scripts/test makes an environment for each MPI")
    job = ("-m", "psgd.train", "training.epochs=2", "optimizer.name=sgd", "--quiet", "--output")
    fast = run(mpi.command(3, *job, str(tmp_path / "fast"), "compile=always"))
    plain = python(*job, str(tmp_path / "plain"), "compile=never", "group=serial")
    one, other = (json.loads(finished.stdout) for finished in (fast, plain))
    assert (one["processes"], other["processes"]) == (3, 1)
    assert one["parameters_sha256"] == other["parameters_sha256"]
