"""Builds a job from settings and data: the only place that turns settings into parts."""

from math import ceil

import numpy as np

from psgd.backends.backend import Backend
from psgd.backends.numpy.backend import NUMPY
from psgd.backends.numpy.products import accumulator
from psgd.config import settings as config
from psgd.config.settings import Settings
from psgd.core.errors import UsageError
from psgd.data.dataset import Data
from psgd.data.sampling.partition import Partition
from psgd.data.sampling.replacement import Replacement
from psgd.data.sampling.shuffle import Sampler, Shuffle
from psgd.data.sparse import SparseDataset
from psgd.jobs.choose_backend import choose_backend
from psgd.learners.layered_learner import WeightSettings
from psgd.learners.losses import LOSSES, Loss, huber
from psgd.learners.mlp import MLP
from psgd.learners.sparse_linear import SparseLinear
from psgd.optimizers.optimizer import Optimizer
from psgd.optimizers.rules import SGD, Adam, Rule
from psgd.optimizers.schedule import Schedule
from psgd.strategy.plans import PacedPlan, exact_speeds, period_to_end
from psgd.strategy.presets import HOLDOUT, gradient_averaging, parameter_averaging, weighted_averaging
from psgd.strategy.strategy import Strategy
from psgd.training.job import Job, as_written


def build_job(settings: Settings, data: Data) -> Job:
    """The job of one process or thread, with a learner of its own. UsageError if settings and data do not fit."""
    training = settings.training
    learner, optimizer = build_learner(settings, data), build_optimizer(settings)
    backend = choose_backend(settings, len(data.train), learner, optimizer)
    if backend is not NUMPY:
        learner, optimizer = build_learner(settings, data, backend), build_optimizer(settings, backend)
    sampler = build_sampler(settings, data)
    if settings.averaging is not None and optimizer.plain:
        accumulator(learner.dtype)  # what an MLP's local steps take; imported now, since that takes time
    return Job(
        workers=settings.worker_count,
        strategy=build_strategy(settings, sampler.examples, optimizer),
        learner=learner,
        data=data,
        sampler=sampler,
        outputs=learner.layout.sizes[-1],
        epochs=training.epochs,
        seed=training.seed,
        evaluate_every=training.evaluate_every,
        target=training.target,
        exclude=training.on_nonfinite == "exclude",
        stride=learner.stride if isinstance(learner, SparseLinear) else 1,
        backend=backend,
    )


def build_sampler(settings: Settings, data: Data) -> Sampler:
    training, source = settings.training, settings.data
    examples, batch, seed = len(data.train), training.batch_size_per_worker, training.seed
    if source.mode == "partition":
        return Partition(examples, batch, settings.worker_count, seed)
    if source.mode == "replacement":
        return Replacement(examples, batch, seed)
    return Shuffle(examples, batch, seed, source.window if isinstance(source, config.Npz) else None)


def build_learner(settings: Settings, data: Data, backend: Backend = NUMPY) -> MLP | SparseLinear:
    model, optimizer = settings.model, settings.optimizer
    loss = huber(model.huber_threshold) if model.loss == "huber" else LOSSES[model.loss]
    outputs = data.train.outputs
    if data.train.classes == 2 and model.loss in ("binary-cross-entropy", "hinge"):
        outputs = 1  # one unit says which of the two
    if data.train.classes == 0 and model.loss in ("cross-entropy", "binary-cross-entropy", "hinge"):
        raise UsageError(f"model.loss {model.loss} needs classes, and these data have none; use squared-error or huber")
    if isinstance(data.train, SparseDataset):
        return _build_sparse(settings, data.train, loss)
    return MLP(
        (data.train.features, *model.hidden, outputs),
        model.activation,
        model.output_activation,
        loss,
        np.dtype(settings.training.precision),
        WeightSettings(model.initializer, model.constant, optimizer.l1, optimizer.l2),
        backend,
    )


def _build_sparse(settings: Settings, train: SparseDataset, loss: Loss) -> SparseLinear:
    model, optimizer = settings.model, settings.optimizer
    if model.hidden:
        raise UsageError(
            f"model.hidden is {model.hidden}, but these data are sparse, of which a linear model is learnt; set [] "
            "for it"
        )
    if train.outputs > 2 or (train.classes == 0 and train.outputs > 1) or model.loss == "cross-entropy":
        what = f"{train.classes} classes" if train.classes else f"{train.outputs} outputs"
        raise UsageError(
            f"model.loss {model.loss} on sparse data of {what}: the linear model of sparse data has one output: "
            "use binary-cross-entropy or hinge for two classes, squared-error or huber for numbers"
        )
    natural = loss.natural or "identity"
    if model.output != natural:
        raise UsageError(
            f"model.output is {model.output}, but on sparse data {model.loss} needs {natural}; leave it out"
        )
    return SparseLinear(
        train.features,
        model.output_activation,
        loss,
        np.dtype(settings.training.precision),
        WeightSettings(model.initializer, model.constant, optimizer.l1, optimizer.l2),
    )


def build_optimizer(settings: Settings, backend: Backend = NUMPY) -> Optimizer:
    o, epochs = settings.optimizer, settings.training.epochs
    schedule = Schedule(o.learning_rate, o.schedule, epochs, o.warmup, o.decay_every, o.decay_factor)
    return Optimizer(_build_rule(settings.optimizer), schedule, o.clip_norm, backend)


def _build_rule(optimizer: config.Sgd | config.Adam | config.Amsgrad) -> Rule:
    if isinstance(optimizer, config.Sgd):
        return SGD(optimizer.momentum, optimizer.nesterov)
    amsgrad = isinstance(optimizer, config.Amsgrad)
    return Adam(optimizer.beta1, optimizer.beta2, optimizer.epsilon, amsgrad=amsgrad)


def build_strategy(settings: Settings, examples: int, optimizer: Optimizer) -> Strategy:
    """`examples`: those of the training part, an epoch."""
    strategy, training, workers = settings.strategy, settings.training, settings.worker_count
    if isinstance(strategy, config.GradientAveraging):
        return gradient_averaging(workers, optimizer)
    weighted = isinstance(strategy, config.WeightedAveraging)
    # Only weighted averaging obeys the workers' pace; the others wait for the slowest.
    speeds = exact_speeds(settings.cluster.speeds if weighted else None, workers)
    period = strategy.period
    if period == "end":
        period = period_to_end(ceil(as_written(training.epochs) * examples / training.batch_size_per_worker), speeds)
    state = strategy.optimizer_state
    if isinstance(strategy, config.ParameterAveraging):
        return parameter_averaging(workers, period, optimizer, state)
    contractions = _contractions(strategy, settings.optimizer)
    return weighted_averaging(PacedPlan(period, speeds), optimizer, state, contractions)


def _contractions(strategy: config.WeightedAveraging, optimizer: config.Optimizer) -> tuple[float, ...]:
    if strategy.contraction == "holdout":
        return HOLDOUT
    if strategy.contraction == "auto":  # the rate at which plain SGD contracts on an l2-regularized objective
        return (1.0 - optimizer.learning_rate * optimizer.l2,)
    return (strategy.contraction,)
