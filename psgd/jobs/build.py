"""From a resolved config and loaded data to a job. The only place that turns the config's words into parts."""

from math import ceil
from typing import Any

import numpy as np

from psgd.backends.backend import Backend
from psgd.backends.numpy.backend import NUMPY
from psgd.backends.numpy.products import accumulator
from psgd.core.errors import UsageError
from psgd.data.dataset import Data
from psgd.data.sampling.partition import Partition
from psgd.data.sampling.replacement import Replacement
from psgd.data.sampling.shuffle import Sampler, Shuffle
from psgd.data.sources.load import load
from psgd.data.sparse import SparseDataset
from psgd.jobs.choose_backend import choose_backend
from psgd.learners.losses import LOSSES, Loss, huber
from psgd.learners.mlp import MLP
from psgd.learners.sparse_linear import SparseLinear
from psgd.optimizers.optimizer import Optimizer
from psgd.optimizers.rules import SGD, Adam, Rule
from psgd.optimizers.schedule import Schedule
from psgd.strategy.descent import Descent
from psgd.strategy.gradient_averaging import GradientAveraging
from psgd.strategy.pace import Pace, period_to_end, speeds_of
from psgd.strategy.parameter_averaging import ParameterAveraging
from psgd.strategy.strategy import Strategy
from psgd.strategy.weighted_averaging import HOLDOUT, WeightedAveraging
from psgd.training.job import Job, as_written

Settings = dict[str, Any]


def load_data(settings: Settings) -> Data:
    """The data of a job. What is set aside for validation is drawn by the data's seed, or the training's."""
    return load({"seed": settings["training"]["seed"], **settings["data"]})


def check_job(settings: Settings, data: Data) -> Job:
    """A job to look at, of which nothing is compiled. UsageError if there can be none."""
    return build_job({**settings, "compile": "never"}, data)


def build_job(settings: Settings, data: Data) -> Job:
    """The job of one process, with a learner of its own. `workers` is a number by now."""
    training = settings["training"]
    learner, optimizer = build_learner(settings, data), build_optimizer(settings)
    backend = choose_backend(settings, len(data.train), learner, optimizer)
    if backend is not NUMPY:
        learner, optimizer = build_learner(settings, data, backend), build_optimizer(settings, backend)
    sampler = build_sampler(settings, data, backend)
    if settings["strategy"]["name"] != "gradient-averaging" and optimizer.plain:
        accumulator(learner.dtype)  # what an MLP's local steps take; imported now, since that takes time
    return Job(
        workers=settings["workers"],
        strategy=build_strategy(settings, sampler.examples, optimizer),
        learner=learner,
        data=data,
        sampler=sampler,
        outputs=learner.layout.sizes[-1],
        epochs=training["epochs"],
        seed=training["seed"],
        evaluate_every=training["evaluate_every"],
        target=training["target"],
        exclude=training["on_nonfinite"] == "exclude",
        stride=learner.stride if isinstance(learner, SparseLinear) else 1,
        backend=backend,
    )


def build_sampler(settings: Settings, data: Data, backend: Backend = NUMPY) -> Sampler:
    training, workers, mode = settings["training"], settings["workers"], settings["data"]["mode"]
    examples, batch, seed = len(data.train), training["batch_size_per_worker"], training["seed"]
    if mode == "partition":
        return Partition(examples, batch, workers, seed, backend)
    if mode == "replacement":
        return Replacement(examples, batch, seed)
    return Shuffle(examples, batch, seed, settings["data"].get("window"), backend)


def build_learner(settings: Settings, data: Data, backend: Backend = NUMPY) -> MLP | SparseLinear:
    model, optimizer = settings["model"], settings["optimizer"]
    loss = huber(model["huber_threshold"]) if model["loss"] == "huber" else LOSSES[model["loss"]]
    outputs = data.train.outputs
    if data.train.classes == 2 and model["loss"] in ("binary-cross-entropy", "hinge"):
        outputs = 1  # one unit says which of the two
    if data.train.classes == 0 and model["loss"] in ("cross-entropy", "binary-cross-entropy", "hinge"):
        raise UsageError(
            f"model.loss {model['loss']} needs classes, and these data have none; use squared-error or huber"
        )
    if isinstance(data.train, SparseDataset):
        return _build_sparse(settings, data.train, loss)
    return MLP(
        (data.train.features, *model["hidden"], outputs),
        model["activation"],
        model["output"],
        loss,
        np.dtype(settings["training"]["precision"]),
        model["initializer"],
        model["constant"],
        optimizer["l1"],
        optimizer["l2"],
        backend,
    )


def _build_sparse(settings: Settings, train: SparseDataset, loss: Loss) -> SparseLinear:
    model, optimizer = settings["model"], settings["optimizer"]
    if model["hidden"]:
        raise UsageError(
            f"model.hidden is {model['hidden']}, but these data are sparse, of which a linear model is learnt; set [] "
            "for it"
        )
    if train.outputs > 2 or (train.classes == 0 and train.outputs > 1) or model["loss"] == "cross-entropy":
        what = f"{train.classes} classes" if train.classes else f"{train.outputs} outputs"
        raise UsageError(
            f"model.loss {model['loss']} on sparse data of {what}: the linear model of sparse data has one output: "
            "use binary-cross-entropy or hinge for two classes, squared-error or huber for numbers"
        )
    natural = loss.natural or "identity"
    if model["output"] != natural:
        raise UsageError(
            f"model.output is {model['output']}, but on sparse data {model['loss']} needs {natural}; leave it out"
        )
    return SparseLinear(
        train.features,
        model["output"],
        loss,
        np.dtype(settings["training"]["precision"]),
        model["initializer"],
        model["constant"],
        optimizer["l1"],
        optimizer["l2"],
    )


def build_optimizer(settings: Settings, backend: Backend = NUMPY) -> Optimizer:
    o, epochs = settings["optimizer"], settings["training"]["epochs"]
    schedule = Schedule(o["learning_rate"], o["schedule"], epochs, o["warmup"], o["decay_every"], o["decay_factor"])
    return Optimizer(_build_rule(settings), schedule, o["clip_norm"], backend)


def _build_rule(settings: Settings) -> Rule:
    o = settings["optimizer"]
    if o["name"] == "sgd":
        return SGD(o["momentum"], o["nesterov"])
    return Adam(o["beta1"], o["beta2"], o["epsilon"], amsgrad=o["name"] == "amsgrad")


def build_strategy(settings: Settings, examples: int, optimizer: Optimizer) -> Strategy:
    """`examples`: of the training part, an epoch."""
    strategy, workers = settings["strategy"], settings["workers"]
    if strategy["name"] == "gradient-averaging":
        return GradientAveraging(workers, optimizer)
    weighted = strategy["name"] == "weighted-averaging"
    # Only weighted averaging obeys the workers' pace; the others wait for the slowest.
    speeds = speeds_of(settings["cluster"]["speeds"] if weighted else None, workers)
    period, training = strategy["period"], settings["training"]
    if period == "end":
        period = period_to_end(
            ceil(as_written(training["epochs"]) * examples / training["batch_size_per_worker"]), speeds
        )
    descent = Descent(optimizer, strategy["optimizer_state"])
    if not weighted:
        return ParameterAveraging(workers, period, descent)
    return WeightedAveraging(Pace(period, speeds), descent, _contractions(settings))


def _contractions(settings: Settings) -> tuple[float, ...]:
    contraction, optimizer = settings["strategy"]["contraction"], settings["optimizer"]
    if contraction == "holdout":
        return HOLDOUT
    if contraction == "auto":  # the rate at which plain SGD contracts on an l2-regularized objective
        return (1.0 - optimizer["learning_rate"] * optimizer["l2"],)
    return (float(contraction),)
