"""Small jobs for the tests of strategies, groups and faults."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import scipy.linalg.blas  # noqa: F401 - here, or each fork would import it when it takes its first steps

from psgd.config.settings import Synthetic
from psgd.core.replica import Progress
from psgd.data.dataset import Data
from psgd.data.sampling.shuffle import Shuffle
from psgd.data.sources.synthetic import synthetic
from psgd.data.split import hold_out
from psgd.group.serial import Serial
from psgd.group.transport import Transport
from psgd.jobs.files.summary import parameters_sha256
from psgd.learners.losses import LOSSES
from psgd.learners.mlp import MLP
from psgd.optimizers.optimizer import Optimizer
from psgd.optimizers.rules import SGD, Adam
from psgd.optimizers.schedule import Schedule
from psgd.strategy.plans import PacedPlan, exact_speeds
from psgd.strategy.presets import gradient_averaging, parameter_averaging, weighted_averaging
from psgd.strategy.strategy import Strategy
from psgd.training.checkpoints import Saving
from psgd.training.job import Job
from psgd.training.loop import Loop
from psgd.training.recorder import Recorder

SPEEDS = (1.0, 0.5, 1.0, 0.25, 0.7, 1.0, 0.3, 0.9)
CONTRACTIONS = (1.0, 0.9, 0.5)  # fewer than psgd's own candidates: each of them adds the same exchanges
_sgd = Optimizer(SGD(), Schedule(0.1))
_momentum = Optimizer(SGD(0.9), Schedule(0.1, "cosine", 3.0, 0.5), clip_norm=0.5)
_adam = Optimizer(Adam(), Schedule(0.01))
_outer = Optimizer(SGD(0.9, nesterov=True), Schedule(0.7))


def strategies(workers: int) -> dict[str, Strategy]:
    """A strategy for each kind of state that a strategy can keep, by name."""
    pace = PacedPlan(6, exact_speeds(SPEEDS[:workers], workers))
    return {
        "gradient-averaging, momentum, clipped": gradient_averaging(workers, _momentum),
        "gradient-averaging, adam": gradient_averaging(workers, _adam),
        "parameter-averaging, sgd": parameter_averaging(workers, 6, _sgd, "keep"),
        "parameter-averaging, adam kept": parameter_averaging(workers, 6, _adam, "keep"),
        "parameter-averaging, adam averaged": parameter_averaging(workers, 6, _adam, "average"),
        "weighted-averaging, adam reset, outer momentum": weighted_averaging(pace, _adam, "reset", (0.9,), _outer),
        "weighted-averaging, holdout": weighted_averaging(pace, _sgd, "keep", CONTRACTIONS),
    }


NAMES = tuple(strategies(4))


def data() -> Data:
    train, test = synthetic(Synthetic(examples=240, features=5, classes=3, seed=1))
    train, validation = hold_out(train, 0.1, seed=1)
    return Data(train, test, validation, "synthetic")


def job(strategy: Strategy, workers: int, epochs: float | None = None, hidden: tuple[int, ...] = (7,)) -> Job:
    """A job of at least two rounds of any strategy, unless `epochs` says otherwise."""
    learner = MLP((5, *hidden, 3), "tanh", "softmax", LOSSES["cross-entropy"], np.dtype(np.float32))
    return Job(
        workers,
        strategy,
        learner,
        data(),
        Shuffle(216, batch=6, seed=3),
        outputs=3,
        epochs=epochs or workers / 4,
        seed=3,
        evaluate_every=0.5,
    )


def poisoned(one: Job, rows: int = 1, exclude: bool = True) -> Job:
    """The same job, but for so many examples that are nan, from the sixth batch of the training on."""
    inputs = one.data.train.inputs.copy()
    inputs[Shuffle(len(inputs), one.batch, one.seed).stream.rows(5 * one.batch, rows)] = np.nan
    train_data = replace(one.data.train, inputs=inputs)
    return replace(one, data=one.data._replace(train=train_data), exclude_nonfinite=exclude)


def loop_of(
    one: Job,
    transport: Transport | None = None,
    directory: Path | None = None,
    checkpoint_seconds: float = 60.0,
    signals: Any = None,
) -> Loop:
    """Its loop, by default in the serial group, with files only in a directory. A round's first segment has 4 steps."""
    if directory:
        directory.mkdir(parents=True, exist_ok=True)
    record = Recorder(directory, len(one.data.train), one.epochs, "", quiet=True)
    saving = Saving(directory, checkpoint_seconds) if directory else None
    return Loop(one, transport or Serial(), record, saving, segment_seconds=1e9, signals=signals)


def train(
    one: Job, transport: Transport, directory: Path | None = None, checkpoint_seconds: float = 60.0
) -> tuple[str, Progress]:
    """Train to the end; return the hash of the parameters and the progress."""
    replica = loop_of(one, transport, directory, checkpoint_seconds).run()
    return parameters_sha256(replica.parameters), replica.progress
