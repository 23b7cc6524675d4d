"""Trains the job of an estimator in this process, without a run directory."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np

from psgd.backends.blas import one_blas_thread
from psgd.config.settings import Settings
from psgd.core.errors import DataError, Diverged, PsgdError, UsageError
from psgd.data.dataset import Data
from psgd.group.transport import Transport
from psgd.jobs.build import build_job
from psgd.jobs.choose.group import choose_group
from psgd.jobs.estimators.parameters import InvalidParameter, in_words_of_estimators
from psgd.jobs.launch.in_process import run_in_process
from psgd.learners.layered_learner import LayeredLearner
from psgd.training.job import Job, Start
from psgd.training.loop import Loop
from psgd.training.recorder import Recorder
from psgd.training.signals import Signals


class Trained(NamedTuple):
    parameters: np.ndarray  # (P,), the best of them with early stopping
    end: Start  # from which training can go on
    losses: list[float]  # the mean loss of each whole epoch
    scores: list[float]  # of each evaluation on validation data, greater is better: accuracies, or losses below 0
    sizes: tuple[int, ...]  # of the layers, inputs first


def train_estimator(
    settings: Settings, data: Data, start: Start | None, verbose: bool, sizes: tuple[int, ...] | None = None
) -> Trained:
    """Train on one thread or several. PsgdError, in the words of estimators, if it cannot be done. `sizes`: of the
    layers of `start`."""
    try:
        first = build_job(settings, data)
        start = _fitting(start, sizes, first)
        first = replace(first, start=start)
        if settings.group == "auto":
            settings = settings.replace(group=choose_group(settings, first.learner.size)[0])
        signals = Signals()

        def act(transport: Transport, build: Callable[[], Job]) -> Trained:
            return _train_on(transport, build(), verbose, signals)

        def build() -> Job:
            return replace(build_job(settings, data), start=start)

        with one_blas_thread():
            return run_in_process(settings, first, build, act, signals)
    except PsgdError as error:
        text = in_words_of_estimators(str(error))
        if error.code in (UsageError.code, DataError.code):
            raise InvalidParameter(text) from None
        if isinstance(error, Diverged):
            text += ", or scale X (and the y of a regressor), as StandardScaler does"
        error.args = (text,)
        raise


def _fitting(start: Start | None, sizes: tuple[int, ...] | None, job: Job) -> Start | None:
    """Return `start`, without the strategy's state if this strategy has another. UsageError if the network is another
    one: by its layers, since other layers may have as many parameters."""
    if start is None:
        return None
    assert isinstance(job.learner, LayeredLearner)
    if sizes != job.learner.layout.sizes:
        raise UsageError(
            f"the network has layers of {job.learner.layout.sizes} units, and the fit from which this one goes on "
            f"{sizes}; clone the estimator, or set warm_start to False"
        )
    return start if len(start.vectors) == 1 + job.vectors.state_rows else Start(start.vectors[:1])


def _train_on(transport: Transport, job: Job, verbose: bool, signals: Signals) -> Trained:
    """Collective: train on one process or thread."""
    rows: list[dict[str, Any]] = []
    examples = job.sampler.examples
    recorder = Recorder(None, examples, job.epochs, str(transport.process), not verbose, rows)
    loop = Loop(job, transport, recorder, signals=signals)
    result, last = loop.run(), loop.replica
    losses = epoch_losses(rows, examples, max(1, last.progress.position // examples))
    evaluated = [row for row in rows if "validation_loss" in row]
    scores = [row.get("validation_accuracy", -row["validation_loss"]) for row in evaluated]
    end = Start(last.vectors.copy(), last.progress.steps)
    assert isinstance(job.learner, LayeredLearner)
    return Trained(result.parameters.copy(), end, losses, scores, job.learner.layout.sizes)


def epoch_losses(rows: list[dict[str, Any]], examples: int, epochs: int) -> list[float]:
    """Return the mean loss of each epoch, from lines of metrics that each have the mean since the line before."""
    lines = [(row["examples"], row["loss"]) for row in rows if row.get("loss") is not None]
    ends = np.array([0, *(end for end, _ in lines)], np.float64)
    sums = np.concatenate([[0.0], np.cumsum(np.diff(ends) * [loss for _, loss in lines])])
    edges = np.minimum(np.arange(epochs + 1) * float(examples), ends[-1])
    means: list[float] = (np.diff(np.interp(edges, ends, sums)) / np.maximum(np.diff(edges), 1.0)).tolist()
    return means
