"""Which jobs are compiled."""

import sys
from typing import Any

import pytest

from psgd.build import build_job
from psgd.compiling import START, worth_compiling
from psgd.config.resolve import resolve
from psgd.data.dataset import Dataset
from psgd.data.source import load
from psgd.job import Job
from psgd.learners.mlp import MLP
from psgd.optimizer.rules import Adam

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


def test_long_jobs_are_compiled():
    pytest.importorskip("numba")
    assert kinds(gradient_averaging("training.epochs=20")) == ("NumpyPasses", False, "Adam")
    assert kinds(gradient_averaging("training.epochs=1e6")) == ("CompiledPasses", True, "OnePass")
    assert kinds(gradient_averaging("training.epochs=1e6", "optimizer.name=sgd")) == ("CompiledPasses", True, "SGD")
    assert kinds(gradient_averaging(*SPARSE, "training.epochs=1e6")) == ("", False, "OnePass")


@pytest.mark.parametrize(
    "saving",
    [{"examples": 100, "sizes": (0, 20_000)}, {"examples": 100, "sizes": (70_000, 1)}, {"updated": 1_500_000}],
)
def test_it_is_a_matter_of_the_work(saving):
    """Of about a millisecond a step."""
    pytest.importorskip("numba")
    assert worth_compiling(1000 * START, **saving)
    assert not worth_compiling(800 * START, **saving)


def test_without_numba_nothing_is(monkeypatch):
    for name in ("numba", "psgd.optimizer.compiled"):
        monkeypatch.setitem(sys.modules, name, None)
    monkeypatch.delattr("psgd.optimizer.compiled", raising=False)
    assert kinds(gradient_averaging("training.epochs=1e6")) == ("NumpyPasses", False, "Adam")


def test_the_default_job_is_not_long():
    assert isinstance(built().strategy.descent.optimizer.rule, Adam)  # type: ignore[attr-defined]
    assert kinds(gradient_averaging())[:2] == ("NumpyPasses", False)
