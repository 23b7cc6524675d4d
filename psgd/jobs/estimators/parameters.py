"""Converts the parameters of an estimator to settings, which obey the same rules as those of a config, and back."""

import re
from collections.abc import Mapping
from typing import Any

from psgd.config.checks import validate
from psgd.config.resolve import fill_in
from psgd.config.settings import Settings
from psgd.core.errors import UsageError
from psgd.jobs.fit.settings import section_of, text_of
from psgd.jobs.plain_values import plain

# What a mapping without a name is of: the defaults of an estimator.
OPTIMIZER, STRATEGY = "adam", "gradient-averaging"
# Settings, as messages name them -> parameters of an estimator.
_PARAMETERS = {
    "model.hidden": "hidden_layer_sizes",
    "training.batch_size_per_worker": "batch_size",
    "training.epochs": "max_iter",
    "training.seed": "random_state",
    "training.early_stop.patience": "n_iter_no_change",
    "training.early_stop.minimum": "tol",
    "data.validation": "validation_fraction",
    "optimizer.name": "optimizer",
    "strategy.name": "strategy",
}
_OWN = {
    **{f"model.{name}": name for name in ("activation", "loss")},
    **{f"optimizer.{name}": name for name in ("learning_rate", "momentum", "l1", "l2")},
    **{f"cluster.{name}": name for name in ("processes", "speeds")},
    "strategy.period": "period",
    "training.precision": "precision",
}
_SETTING = re.compile(r"\b(?:model|optimizer|strategy|training|cluster|data)(?:\.\w+)+")


class InvalidParameter(UsageError, ValueError):
    """A parameter of an estimator, or data, with which it cannot be fitted: a ValueError, as scikit-learn wants it."""


def in_words_of_estimators(message: str) -> str:
    """Replace the names of settings in a message by the parameters of an estimator."""

    def parameter(found: re.Match[str]) -> str:
        name = found[0]
        section, _, key = name.partition(".")
        keys = "".join(f"['{each}']" for each in key.split("."))
        inner = section + keys if section in ("optimizer", "strategy") else name
        return _PARAMETERS.get(name) or _OWN.get(name) or inner

    for absent in (r"; training\.on_nonfinite.*", r" \(softmax is for model\.output only\)"):  # in estimators
        message = re.sub(absent, "", message)
    return _SETTING.sub(parameter, message).replace("null", "None")


def settings_of(parameters: Mapping[str, Any], loss: str, task: str, seed: int) -> Settings:
    """Build settings from an estimator's parameters. `loss`: in psgd's words; `task`: classification or regression.
    InvalidParameter names all problems."""
    p = {name: plain(value) for name, value in parameters.items()}
    sizes, early = p["hidden_layer_sizes"], p["early_stopping"]
    # A parameter that an optimizer or a strategy does not have is ignored, as in scikit-learn: a grid can then name
    # it beside all of them.
    period = None if _name(p["strategy"], STRATEGY) == "gradient-averaging" else p["period"]
    momentum = ("momentum",) if _name(p["optimizer"], OPTIMIZER) == "sgd" else ()
    try:
        values = {
            "data": {
                "source": "npz",
                "path": "X",
                "task": task,
                "validation": p["validation_fraction"] if early else 0.0,
            },
            "model": {
                "hidden": sizes if isinstance(sizes, list) else [sizes],
                "activation": p["activation"],
                "loss": loss,
            },
            "optimizer": section_of("optimizer", p["optimizer"], OPTIMIZER, "learning_rate", p["learning_rate"]),
            "strategy": section_of("strategy", p["strategy"], STRATEGY, "period", period),
            "training": {
                "epochs": p["max_iter"],
                "batch_size_per_worker": p["batch_size"],
                "seed": seed,
                "precision": p["precision"],
                "early_stop": {"patience": p["n_iter_no_change"], "minimum": p["tol"]} if early else None,
            },
            "workers": p["workers"],
            "group": p["group"],
            "cluster": {"processes": p["processes"], "speeds": p["speeds"]},
        }
        for name in ("l1", "l2", *momentum):
            if p[name]:
                values["optimizer"][name] = p[name]
        settings, problems = validate(values)
        lines = [f"{'.'.join(problem.path)} {text_of(problem)}" for problem in problems]
    except UsageError as error:
        lines = [str(error)]
    if lines:
        raise InvalidParameter(in_words_of_estimators("\n".join(dict.fromkeys(lines))))
    if settings.workers == "auto" or settings.group not in ("auto", "serial", "threads"):
        raise InvalidParameter(
            f"workers is {settings.workers} and group is {settings.group}; workers must be a whole number here, and "
            "group one of auto, serial, threads"
        )
    return fill_in(settings, []).settings


def _name(section: Any, default: str) -> Any:
    return section.get("name", default) if isinstance(section, Mapping) else section


def fit_to(settings: Settings, examples: int) -> Settings:
    """Limit the examples of a step and of a round, over all workers, to those of an epoch, as far as they can be."""
    training, workers = settings.training, settings.worker_count
    batch = min(training.batch_size_per_worker, max(1, examples // workers))
    settings = settings.replace(training=training.replace(batch_size_per_worker=batch))
    averaging = settings.averaging
    if averaging and averaging.period != "end":
        period = min(averaging.period, max(1, examples // (batch * workers)))
        settings = settings.replace(strategy=averaging.replace(period=period))
    return settings
