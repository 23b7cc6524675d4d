"""Checks each setting by its own rule, then the rules between settings."""

from collections.abc import Iterator, Sequence
from typing import Any

from psgd.config.settings import (
    Csv,
    Libsvm,
    Linear,
    Npz,
    Own,
    Settings,
    Sgd,
    Synthetic,
    SyntheticSparse,
    WeightedAveraging,
)
from psgd.config.value_checks import Problem, check_values, involves, shown

_CLASSIFYING = ("cross-entropy", "binary-cross-entropy", "hinge")
# The output activations that a loss accepts, its default first; other losses accept any. Hinge needs signed outputs.
OUTPUTS = {"cross-entropy": ("softmax",), "binary-cross-entropy": ("sigmoid",), "hinge": ("identity", "tanh")}
_KIND_OF_TARGETS = (("data", "classes"), ("data", "task"), ("data", "source"))  # classification or regression


def validate(values: dict[str, Any], earlier: Sequence[Problem] = ()) -> tuple[Settings, list[Problem]]:
    """Build settings from nested mappings, in which every section is a mapping, and the defaults. Returns them and all
    problems: `earlier` ones, wrong values, and violated rules between settings. A wrong value is replaced by its
    default, and rules that involve it are skipped."""
    settings, problems = check_values(values)
    problems += earlier
    wrong = [problem.path for problem in problems]
    return settings, problems + [p for rule in _RULES for p in rule(settings) if not involves(p, wrong)]


def classification(settings: Settings) -> bool:
    """Whether the targets are classes."""
    return _regression(settings) is None


def _regression(settings: Settings) -> str | None:
    """The setting that makes this a regression, in the words of an error message; None for classification."""
    data = settings.data
    if isinstance(data, Csv | Npz | Libsvm):
        return "data.task is regression" if data.task == "regression" else None
    if isinstance(data, Linear):
        return "data.source is linear (regression)"
    zero = isinstance(data, Synthetic | SyntheticSparse) and data.classes == 0
    return "data.classes is 0 (regression)" if zero else None


def _contraction(settings: Settings) -> Iterator[Problem]:
    """Cheng et al. (WP-SGD) bound the contraction of plain SGD on an l2-regularised objective by 1 - lambda * eta."""
    optimizer, strategy = settings.optimizer, settings.strategy
    if not isinstance(strategy, WeightedAveraging) or strategy.contraction != "auto":
        return
    reasons = []
    if not isinstance(optimizer, Sgd):
        reasons.append(f"optimizer.name is {optimizer.name}")
    elif optimizer.momentum > 0:
        reasons.append(f"optimizer.momentum is {shown(optimizer.momentum)}")
    contraction = 1 - optimizer.learning_rate * optimizer.l2
    if optimizer.l2 == 0:
        reasons.append("optimizer.l2 is 0 (it would silently be uniform averaging)")
    elif not 0 < contraction < 1:
        reasons.append(f"1 - learning_rate * l2 is {shown(contraction)}, not between 0 and 1")
    if optimizer.schedule != "constant":
        reasons.append(f"optimizer.schedule is {optimizer.schedule}")
    for name, value in (("warmup", optimizer.warmup), ("l1", optimizer.l1), ("clip_norm", optimizer.clip_norm)):
        if value:
            reasons.append(f"optimizer.{name} is {shown(value)}")
    if reasons:
        keys = ("name", "momentum", "l2", "learning_rate", "schedule", "warmup", "l1", "clip_norm")
        text = (
            "is auto, that is 1 - learning_rate * l2, which holds for plain SGD with l2 > 0 and a constant learning "
            f"rate only; but {', '.join(reasons)}; set strategy.contraction to holdout or to a number"
        )
        yield Problem(("strategy", "contraction"), text, tuple(("optimizer", key) for key in keys))


def _outer(settings: Settings) -> Iterator[Problem]:
    """An outer optimizer takes one step a round; candidates for the weights would need one each."""
    strategy = settings.strategy
    if not isinstance(strategy, WeightedAveraging) or not strategy.outer:
        return
    if settings.cluster.unequal and strategy.contraction == "holdout":
        text = "is set, but strategy.contraction is holdout, which tries several; set that to a number, such as 0.99"
        yield Problem(("strategy", "outer"), text, (("strategy", "contraction"), ("cluster", "speeds")))


def _nesterov(settings: Settings) -> Iterator[Problem]:
    optimizer = settings.optimizer
    if isinstance(optimizer, Sgd) and optimizer.nesterov and optimizer.momentum == 0:
        text = "is true, but optimizer.momentum is 0; set a momentum greater than 0, or nesterov to false"
        yield Problem(("optimizer", "nesterov"), text, (("optimizer", "momentum"),))


def _speeds(settings: Settings) -> Iterator[Problem]:
    speeds, path = settings.cluster.speeds, ("cluster", "speeds")
    if speeds is None:
        return
    if len(speeds) != settings.workers:
        advice = f"set workers: {len(speeds)}" if settings.workers == "auto" else "give one speed for each worker"
        text = f"names {len(speeds)} speeds, but workers is {settings.workers}; {advice}"
        yield Problem(path, text, (("workers",),))
    if max(speeds) != 1:
        yield Problem(path, f"is {shown(speeds)}; its largest must be 1 (speeds are relative to the fastest worker)")


def _processes(settings: Settings) -> Iterator[Problem]:
    if settings.cluster.processes is not None and settings.group in ("serial", "mpi"):
        how = "is always one process" if settings.group == "serial" else "has as many as its launcher starts"
        text = f"is {settings.cluster.processes}, but group is {settings.group}, which {how}; leave it out"
        yield Problem(("cluster", "processes"), text, (("group",),))


def _loss(settings: Settings) -> Iterator[Problem]:
    loss, output = settings.model.loss, settings.model.output
    if not classification(settings) and loss in _CLASSIFYING:
        text = f"is {loss}, which is for classes, but {_regression(settings)}; use squared-error or huber"
        yield Problem(("model", "loss"), text, _KIND_OF_TARGETS)
    wanted = OUTPUTS.get(loss)
    if wanted and output is not None and output not in wanted:
        needed = " or ".join(wanted)
        text = f"is {output}, but the loss {loss} needs {needed}; leave model.output out to get {wanted[0]}"
        yield Problem(("model", "output"), text, (("model", "loss"),))


def _target(settings: Settings) -> Iterator[Problem]:
    target = settings.training.target
    if target is not None and classification(settings) and not 0 < target <= 1:
        text = f"is {shown(target)}; for classes it is an accuracy, greater than 0 and at most 1"
        yield Problem(("training", "target"), text, _KIND_OF_TARGETS)


def _early_stop(settings: Settings) -> Iterator[Problem]:
    if settings.training.early_stop is not None and settings.data.validation == 0:
        text = "is judged on validation data, but data.validation is 0; set data.validation, such as 0.1"
        yield Problem(("training", "early_stop"), text, (("data", "validation"),))


def _files(settings: Settings) -> Iterator[Problem]:
    """Check the settings of data files."""
    data = settings.data
    if not isinstance(data, Csv | Npz | Libsvm):
        return
    if data.path is None:
        kinds = {"csv": "a CSV file", "npz": "an npz file, or a directory of npy files", "libsvm": "a libsvm file"}
        yield Problem(("data", "path"), f"is null; name {kinds[data.source]}", (("data", "source"),))
    if isinstance(data, Csv) and data.target is None:
        yield Problem(("data", "target"), "is null; name the column that is to be learnt", (("data", "source"),))
    if isinstance(data, Npz) and data.window and data.mode != "shuffle":
        text = f"is {data.window}, but data.mode is {data.mode}; leave it out"
        yield Problem(("data", "window"), text, (("data", "mode"),))
    if isinstance(data, Csv | Libsvm) and data.test_path and data.train_rows:
        text = f"is {data.train_rows}, but data.test_path names the test data; leave one of them out"
        yield Problem(("data", "train_rows"), text, (("data", "test_path"),))


def _sparse(settings: Settings) -> Iterator[Problem]:
    """Check that the model of sparse data is linear and has one output."""
    data, model = settings.data, settings.model
    if not isinstance(data, Libsvm | SyntheticSparse):
        return
    if model.hidden:
        text = f"is {shown(model.hidden)}, but {data.source} data are sparse and need a linear model; set []"
        yield Problem(("model", "hidden"), text, (("data", "source"),))
    if model.loss == "cross-entropy":
        text = (
            f"is cross-entropy, but the linear model of {data.source} data has one output; use binary-cross-entropy or "
            "hinge for two classes, squared-error or huber for numbers"
        )
        yield Problem(("model", "loss"), text, (("data", "source"),))


def trains_on_cpu(settings: Settings) -> str | None:
    """What trains on the CPU whatever the device, in the words of an error message; None if a GPU could train it."""
    if isinstance(settings.data, Own):
        return "psgd.fit, whose function is yours and computes with numpy,"
    if isinstance(settings.data, Libsvm | SyntheticSparse):
        return "the linear model of sparse data"
    return None


def _device(settings: Settings) -> Iterator[Problem]:
    """Check what only a GPU does, and what a GPU does not."""
    training = settings.training
    if settings.device == "cuda" and (what := trains_on_cpu(settings)):
        text = f"is cuda, but {what} trains on the CPU; set device to auto or cpu"
        yield Problem(("device",), text, (("data", "source"),))
    if training.tf32 and training.precision == "float64":
        text = "is true, but training.precision is float64, which is not rounded to TF32; leave one of them out"
        yield Problem(("training", "tf32"), text, (("training", "precision"),))
    if training.tf32 and settings.device == "cpu":
        yield Problem(
            ("training", "tf32"), "is true, but device is cpu, which has no TF32; leave it out", (("device",),)
        )


_RULES = (
    _contraction, _outer, _nesterov, _speeds, _processes, _loss, _target, _early_stop, _files, _sparse, _device
)  # fmt: skip
