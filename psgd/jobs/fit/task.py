"""The checked arguments of `psgd.fit`, and the job that each process or thread builds from them."""

import hashlib
import json
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import numpy as np

from psgd.config.settings import Settings
from psgd.core.errors import UsageError
from psgd.data.dataset import Data
from psgd.data.split import hold_out
from psgd.data.user_arrays import UserArrays, as_user_arrays
from psgd.jobs.build import assemble
from psgd.learners.parameter_tree import ParameterTree
from psgd.learners.user_function import Gradient, Measure, UserFunction
from psgd.training.job import Job

_SAMPLE = 1000  # rows of the data that processes compare; more take longer and find smaller differences


class Task(NamedTuple):
    """A call of `psgd.fit`, from which any number of jobs can be built."""

    settings: Settings
    structure: ParameterTree
    start: np.ndarray  # the given parameters (P,)
    data: Data
    learner: Callable[[], UserFunction]
    progress: bool  # lines on stderr

    def job(self) -> Job:
        """Build a job with its own learner."""
        return assemble(self.settings, self.data, lambda backend: self.learner(), "psgd.fit")

    def fingerprints(self) -> dict[str, str]:
        """SHA-256 of the initial parameters and their structure, by name."""
        leaves = json.dumps([[leaf.path, leaf.shape] for leaf in self.structure.leaves])
        start = np.ascontiguousarray(self.start)
        return {"initial parameters": hashlib.sha256(leaves.encode() + start.tobytes()).hexdigest()}

    def digests(self) -> list[bytes]:
        """SHA-256 of all that must be equal on all processes: initial parameters, a sample of the data, settings."""
        data = hashlib.sha256()
        for part in (self.data.train, self.data.validation, self.data.test):
            if isinstance(part, UserArrays):
                rows = np.linspace(0, len(part) - 1, min(_SAMPLE, len(part)), dtype=np.int64)
                for array in (part.X, part.y):
                    data.update(f"{array.shape} {array.dtype}".encode())
                    data.update(np.ascontiguousarray(array[rows]).tobytes())
        paths = [leaf.path for leaf in self.structure.leaves]
        described = json.dumps([self.settings.model_dump(), str(self.start.dtype), paths]).encode()
        return [hashlib.sha256(part).digest() for part in (self.start.tobytes(), data.digest(), described)]


def build_task(
    settings: Settings,
    gradient: Gradient,
    parameters: Any,
    dataset: Any,
    test: Any,
    loss: Measure | None,
    score: Measure | None,
    progress: bool,
) -> Task:
    for name, function in (("gradient", gradient), ("loss", loss), ("score", score)):
        if not callable(function) and (function is not None or name == "gradient"):
            raise UsageError(f"{name} is {type(function).__name__}; it must be a function of (parameters, X, y)")
    if test is not None and not (loss or score):
        raise UsageError("test is scored by loss=... or score=..., functions of (parameters, X, y); give one")
    structure, classes = ParameterTree(parameters), 1 if score else 0
    settings = settings.replace(training=settings.training.replace(precision=str(structure.dtype)))
    start = structure.flatten(parameters)
    examples = as_user_arrays(dataset, "dataset", classes)
    scored = as_user_arrays(test, "test", classes) if test is not None else None
    train, validation = _hold_out(settings, examples, loss or score)
    note = f"{len(train)} train{f', {len(validation)} validation' if validation else ''} examples"
    learner = partial(UserFunction, gradient, structure, start, loss, score, progress)
    return Task(settings, structure, start, Data(train, scored, validation, note), learner, progress)


def _hold_out(
    settings: Settings, examples: UserArrays, measure: Measure | None
) -> tuple[UserArrays, UserArrays | None]:
    """Split (training, validation) examples; validation only if a contraction is chosen on it, as with a config."""
    share = settings.data.validation
    if not share:
        return examples, None
    if measure is None:
        raise UsageError(
            f"strategy.contraction is holdout: with speeds {settings.cluster.speeds} it is chosen on {share:.0%} of "
            "the data, set aside, by loss=... or score=...; give one, or strategy={'name': 'weighted-averaging', "
            "'contraction': 0.9}"
        )
    train, validation = hold_out(examples, share, settings.training.seed)
    assert isinstance(train, UserArrays)
    assert isinstance(validation, UserArrays)
    return train, validation
