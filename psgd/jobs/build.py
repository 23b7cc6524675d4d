"""Builds a job from settings and data: the only place that constructs its parts from settings."""

from collections.abc import Callable
from functools import partial
from math import ceil

import numpy as np

from psgd.backends.backend import Backend
from psgd.backends.numpy.backend import NUMPY
from psgd.backends.numpy.products import accumulator
from psgd.config import settings as config
from psgd.config.settings import Settings
from psgd.core.errors import UsageError
from psgd.core.memory import check_fits
from psgd.core.portable_math import as_written
from psgd.data.dataset import Data
from psgd.data.sampling.partition import Partition
from psgd.data.sampling.replacement import Replacement
from psgd.data.sampling.sampler import Sampler
from psgd.data.sampling.shuffle import Shuffle
from psgd.data.sparse import SparseDataset
from psgd.jobs.choose.backend import choose_backend
from psgd.jobs.choose.device import choose_device
from psgd.learners.layered_learner import WeightSettings
from psgd.learners.learner import Learner
from psgd.learners.losses import LOSSES, Loss, huber
from psgd.learners.mlp import MLP
from psgd.learners.sparse_linear import SparseLinear
from psgd.optimizers.optimizer import Optimizer
from psgd.optimizers.rules import SGD, Adam, Rule
from psgd.optimizers.schedule import Schedule
from psgd.strategy.plans import PacedPlan, exact_speeds, period_to_end
from psgd.strategy.presets import HOLDOUT, gradient_averaging, parameter_averaging, weighted_averaging
from psgd.strategy.strategy import Strategy
from psgd.training.early_stop import StopRule
from psgd.training.job import Job


def build_job(settings: Settings, data: Data) -> Job:
    """Build the job of one process or thread, with its own learner. UsageError if settings and data do not fit."""
    return assemble(settings, data, partial(_build_learner, settings, data))


def assemble(settings: Settings, data: Data, make: Callable[[Backend], Learner], caller: str = "psgd") -> Job:
    """Build the job of a learner, which `make` returns for a backend. `caller`: the name of psgd's entry point in notes
    on exceptions."""
    training = settings.training
    early = training.early_stop
    learner, optimizer = make(NUMPY), _build_optimizer(settings, NUMPY)
    backend = choose_backend(settings, len(data.train), learner, optimizer)
    if backend is not NUMPY:
        learner, optimizer = make(backend), _build_optimizer(settings, backend)
    sampler = _build_sampler(settings, data)
    _check_memory(settings, learner, optimizer)
    if isinstance(learner, MLP) and settings.averaging is not None and optimizer.plain:
        accumulator(learner.dtype)  # local steps need it; its import takes time, which belongs to the start
    strategy = _build_strategy(settings, sampler.examples, optimizer)
    return Job(
        workers=settings.worker_count,
        strategy=strategy,
        learner=learner,
        data=data,
        sampler=sampler,
        outputs=learner.layout.sizes[-1] if isinstance(learner, MLP | SparseLinear) else data.train.outputs,
        epochs=training.epochs,
        seed=training.seed,
        evaluate_every=training.evaluate_every,
        target=training.target,
        early_stop=StopRule(early.patience, early.minimum) if early else None,
        exclude_nonfinite=training.on_nonfinite == "exclude",
        stride=learner.stride if isinstance(learner, SparseLinear) else 1,
        caller=caller,
        backend=backend,
        open_device=choose_device(settings, learner, data, strategy),
    )


def _check_memory(settings: Settings, learner: Learner, optimizer: Optimizer) -> None:
    """UsageError if parameters, workers and batches cannot fit in memory: the least that a process needs for them."""
    alone = settings.group in ("serial", "threads")  # all workers are here, with a contribution and moments each
    workers = settings.worker_count if alone else 1
    vectors = 2 + workers * (1 + (optimizer.moment_rows if settings.averaging else 0))  # 2: a replica, a gradient
    vectors += settings.training.early_stop is not None  # the best parameters so far
    batch, people = settings.training.batch_size_per_worker, "worker" if workers == 1 else "workers"
    a_row = sum(learner.layout.sizes) if isinstance(learner, MLP) else 1
    check_fits(
        (vectors * learner.size + batch * a_row) * learner.dtype.itemsize,
        f"{learner.size:,} parameters, {workers:,} {people} and batches of {batch:,}",
        "lower model.hidden, workers, training.batch_size_per_worker or the number of inputs",
    )


def _build_sampler(settings: Settings, data: Data) -> Sampler:
    training, source = settings.training, settings.data
    examples, batch, seed = len(data.train), training.batch_size_per_worker, training.seed
    if source.mode == "partition":
        return Partition(examples, batch, settings.worker_count, seed)
    if source.mode == "replacement":
        return Replacement(examples, batch, settings.worker_count, seed)
    if batch > examples:
        raise UsageError(
            f"training.batch_size_per_worker is {batch}, but there are {examples} training examples, and a step should "
            f"use each of them at most once; use at most {examples}"
        )
    return Shuffle(examples, batch, seed, source.window if isinstance(source, config.Npz) else None)


def _build_learner(settings: Settings, data: Data, backend: Backend) -> MLP | SparseLinear:
    model, optimizer, train = settings.model, settings.optimizer, data.train
    dtype = np.dtype(settings.training.precision)
    loss = huber(model.huber_threshold) if model.loss == "huber" else LOSSES[model.loss]
    weights = WeightSettings(model.initializer, model.constant, optimizer.l1, optimizer.l2)
    common = model.output_activation, loss, dtype, weights
    if isinstance(train, SparseDataset):
        _check_sparse(model, train.classes, loss)
        return SparseLinear(train.features, *common)
    one_unit = train.classes == 2 and model.loss in ("binary-cross-entropy", "hinge")  # its sign or half is the class
    return MLP((train.features, *model.hidden, 1 if one_unit else train.outputs), model.activation, *common, backend)


def _check_sparse(model: config.Model, classes: int, loss: Loss) -> None:
    """UsageError unless the sparse linear model, which has one output, can learn these data."""
    if classes > 2:
        raise UsageError(
            f"model.loss {model.loss} on sparse data of {classes} classes: the linear model of sparse data has one "
            "output: use binary-cross-entropy or hinge for two classes, squared-error or huber for numbers"
        )
    canonical = loss.canonical or "identity"
    if model.output != canonical:
        raise UsageError(
            f"model.output is {model.output}, but on sparse data {model.loss} needs {canonical}; leave it out"
        )


def _build_optimizer(settings: Settings, backend: Backend) -> Optimizer:
    o, epochs = settings.optimizer, settings.training.epochs
    rule: Rule
    if isinstance(o, config.Sgd):
        rule = SGD(o.momentum, o.nesterov)
    else:
        rule = Adam(o.beta1, o.beta2, o.epsilon, amsgrad=o.name == "amsgrad")
    schedule = Schedule(o.learning_rate, o.schedule, epochs, o.warmup, o.decay_every, o.decay_factor)
    return Optimizer(rule, schedule, o.clip_norm, backend)


def strategy_of(settings: Settings, examples: int) -> Strategy:
    """The strategy of a job, to be looked at; `examples`: in one epoch."""
    return _build_strategy(settings, examples, _build_optimizer(settings, NUMPY))


def _build_strategy(settings: Settings, examples: int, optimizer: Optimizer) -> Strategy:
    """`examples`: in one epoch."""
    strategy, training, workers = settings.strategy, settings.training, settings.worker_count
    if isinstance(strategy, config.GradientAveraging):
        return gradient_averaging(workers, optimizer)
    weighted = isinstance(strategy, config.WeightedAveraging)
    # Only weighted averaging gives slower workers fewer steps; the other strategies wait for the slowest worker.
    speeds = exact_speeds(settings.cluster.speeds if weighted else None, workers)
    period = strategy.period
    if period == "end":
        period = period_to_end(ceil(as_written(training.epochs) * examples / training.batch_size_per_worker), speeds)
    state, outer = strategy.optimizer_state, None
    if strategy.outer:
        rule = SGD(strategy.outer.momentum, strategy.outer.nesterov)
        outer = Optimizer(rule, Schedule(strategy.outer.learning_rate), backend=optimizer.backend)
    if isinstance(strategy, config.ParameterAveraging):
        return parameter_averaging(workers, period, optimizer, state, outer)
    contractions = _contractions(strategy, settings.optimizer)
    return weighted_averaging(PacedPlan(period, speeds), optimizer, state, contractions, outer)


def _contractions(strategy: config.WeightedAveraging, optimizer: config.Optimizer) -> tuple[float, ...]:
    bound = 1.0 - optimizer.learning_rate * optimizer.l2  # of Cheng et al. for plain SGD on an l2-regularised objective
    if strategy.contraction == "holdout":
        tried = {bound} if isinstance(optimizer, config.Sgd) and 0 < bound < 1 else set()
        return tuple(sorted({*HOLDOUT, *tried}, reverse=True))
    if strategy.contraction == "auto":
        return (bound,)
    return (strategy.contraction,)
