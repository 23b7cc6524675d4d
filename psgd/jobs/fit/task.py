"""A checked call of `psgd.fit`, and the job that each process or thread builds from it."""

import hashlib
import json
from dataclasses import dataclass
from typing import Any, final

import numpy as np

from psgd.config.resolve import HELD_OUT, chooses_on_validation
from psgd.config.settings import Settings
from psgd.core.errors import UsageError
from psgd.data.dataset import Data
from psgd.data.sampling.shuffle import Shuffle
from psgd.data.split import hold_out
from psgd.data.user_arrays import UserArrays, as_user_arrays
from psgd.jobs.build import build_optimizer, build_strategy
from psgd.jobs.choose_backend import choose_backend
from psgd.jobs.fit.settings import group_of
from psgd.learners.parameter_tree import ParameterTree
from psgd.learners.user_function import Gradient, Measure, UserFunction
from psgd.training.job import Job

_SAMPLE = 1000  # rows of the data that processes compare


@final
@dataclass(frozen=True, eq=False)
class Task:
    """Everything that a call of `psgd.fit` asks for."""

    settings: Settings
    gradient: Gradient
    structure: ParameterTree
    start: np.ndarray
    data: Data
    loss: Measure | None
    score: Measure | None
    progress: bool

    def job(self) -> Job:
        """A job with a learner of its own."""
        training, examples = self.settings.training, len(self.data.train)
        learner = UserFunction(self.gradient, self.structure, self.start, self.loss, self.score, self.progress)
        backend = choose_backend(self.settings, examples, learner, build_optimizer(self.settings))
        optimizer = build_optimizer(self.settings, backend)
        return Job(
            workers=self.settings.worker_count,
            strategy=build_strategy(self.settings, examples, optimizer),
            learner=learner,
            data=self.data,
            sampler=Shuffle(examples, training.batch_size_per_worker, training.seed),
            outputs=self.data.train.outputs,
            epochs=training.epochs,
            seed=training.seed,
            exclude=training.on_nonfinite == "exclude",
            caller="psgd.fit",
        )

    def digests(self) -> list[bytes]:
        """Digests of what must be equal on all processes: initial parameters, data (a sample of them), settings."""
        data = hashlib.sha256()
        for part in (self.data.train, self.data.validation, self.data.test):
            if isinstance(part, UserArrays):
                rows = np.linspace(0, len(part) - 1, min(_SAMPLE, len(part)), dtype=np.int64)
                for array in (part.X, part.y):
                    data.update(f"{array.shape} {array.dtype}".encode())
                    data.update(np.ascontiguousarray(array[rows]).tobytes())
        described = json.dumps(
            [self.settings.model_dump(), str(self.start.dtype), [leaf.path for leaf in self.structure.leaves]]
        )
        return [hashlib.sha256(part).digest() for part in (self.start.tobytes(), data.digest(), described.encode())]


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
        if function is not None and not callable(function):
            raise UsageError(f"{name} is {type(function).__name__}; it must be a function of (parameters, X, y)")
    if test is not None and not (loss or score):
        raise UsageError("test is scored by loss=... or score=..., functions of (parameters, X, y); give one")
    structure = ParameterTree(parameters)
    classes = 1 if score else 0
    examples = as_user_arrays(dataset, "dataset", classes)
    scored = as_user_arrays(test, "test", classes) if test is not None else None
    train, validation = _hold_out(settings, examples, loss or score)
    note = f"{len(train)} train{f', {len(validation)} validation' if validation else ''} examples"
    settings = settings.replace(group=group_of(settings))
    data = Data(train, scored, validation, note)
    return Task(settings, gradient, structure, structure.flatten(parameters), data, loss, score, progress)


def _hold_out(
    settings: Settings, examples: UserArrays, measure: Measure | None
) -> tuple[UserArrays, UserArrays | None]:
    """(training, validation) examples; the latter only where a contraction is chosen on them, as with a config."""
    if not chooses_on_validation(settings):
        return examples, None
    if measure is None:
        raise UsageError(
            f"strategy.contraction is holdout: with speeds {settings.cluster.speeds} it is chosen on {HELD_OUT:.0%} of "
            "the data, set aside, by loss=... or score=...; give one, or strategy={'name': 'weighted-averaging', "
            "'contraction': 0.9}"
        )
    train, validation = hold_out(examples, HELD_OUT, settings.training.seed)
    assert isinstance(train, UserArrays)
    assert isinstance(validation, UserArrays)
    return train, validation
