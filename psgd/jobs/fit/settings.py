"""Converts the arguments of `psgd.fit` to settings, which obey the same rules as those of a config, and back."""

import re
from collections.abc import Mapping
from typing import Any

from psgd.config.checks import validate
from psgd.config.resolve import fill_in
from psgd.config.settings import Settings
from psgd.config.value_checks import Problem
from psgd.core.errors import UsageError
from psgd.core.launcher import launched
from psgd.jobs.choose.group import check_launched
from psgd.jobs.plain_values import plain

# Settings, as messages of other parts name them -> arguments of psgd.fit. Other settings of `strategy` and `optimizer`
# are keys of these mappings.
_ARGUMENTS = {
    "strategy.name": "strategy",
    "strategy.period": "period",
    "optimizer.name": "optimizer",
    "optimizer.learning_rate": "learning_rate",
    "training.epochs": "epochs",
    "training.batch_size_per_worker": "batch_size_per_worker",
    "training.seed": "seed",
    "training.on_nonfinite": "on_nonfinite",
    "training.checkpoint_seconds": "checkpoint_seconds",
    "data.mode": "mode",
    "cluster.speeds": "speeds",
    "cluster.processes": "processes",
    "model.hidden": "the size of the parameters",
}
_SETTING = re.compile(r"\b(data|strategy|optimizer|training|cluster|model)\.(\w+)((?:\.[a-z]\w*)*)(?:: ([a-z]\w*))?")
REGULARISATION = "psgd does not know which of your parameters are weights; add it to your gradient"
# Options of the command, which messages of other parts name -> arguments of psgd.fit.
_OPTIONS = {
    "--output DIR": "output=DIR",
    "--output": "output",
    "--resume": "resume=True",
    "--overwrite": "overwrite=True",
    "--accept-changes": "accept_changes=True",
}


def in_words_of_fit(message: str) -> str:
    """Replace the names of settings in a message by the arguments of `psgd.fit`: training.on_nonfinite: exclude is
    on_nonfinite='exclude'."""

    def argument(found: re.Match[str]) -> str:
        section, key, further, value = found.groups()
        name = _ARGUMENTS.get(f"{section}.{key}{further}")
        if name is None and section in ("strategy", "optimizer"):
            name = section + "".join(f"['{each}']" for each in f"{key}{further}".split("."))
        return str(found[0]) if name is None else f"{name}={value!r}" if value else name

    message = _SETTING.sub(argument, message).replace(", or null", ", or None")
    for option, name in _OPTIONS.items():
        message = message.replace(option, name)
    return message


def text_of(problem: Problem) -> str:
    """The text of a problem, without the advice that workers may be auto: psgd.fit and estimators take numbers only."""
    return problem.text.removesuffix(", or auto") if problem.path == ("workers",) else problem.text


def argument_of(setting: str) -> str:
    """The argument of `psgd.fit` that is a setting; the name of the setting where there is none."""
    return _ARGUMENTS.get(setting, setting)


def section_of(section: str, given: str | Mapping[str, Any], name: str, key: str, value: Any) -> dict[str, Any]:
    """Make a section of a name or a mapping, and of the `value` of the one key that is an argument of its own. `name`:
    the default, for a mapping without one."""
    if not isinstance(given, str | Mapping):
        raise UsageError(f"{section} is {given!r}; it must be a name, or a mapping such as {{'name': ...}}")
    mapping = {"name": given} if isinstance(given, str) else {"name": name} | {k: plain(v) for k, v in given.items()}
    if value is not None:
        if callable(value) and section == "optimizer":
            raise UsageError(
                f"{key} is a function; it must be a number. For a rate that falls, give "
                f"{section}={mapping | {'schedule': 'cosine'}}, or schedule 'step' with decay_every and decay_factor"
            )
        if key in mapping:
            raise UsageError(f"{section}.{key} is given twice, {mapping[key]!r} and {value!r}; keep one")
        mapping[key] = plain(value)
    return mapping


def check_settings(values: dict[str, Any]) -> Settings:
    """Build settings from `values` and a config's defaults, and choose the group. UsageError names all problems."""
    settings, problems = validate(values)
    optimizer = settings.optimizer
    for key, value in (("l1", optimizer.l1), ("l2", optimizer.l2)):
        if value:
            problems.append(Problem(("optimizer", key), f"is {value}, but {REGULARISATION}"))
    if settings.workers == "auto":
        problems.append(Problem(("workers",), "is auto; it must be a whole number here"))
    if problems:
        lines = [f"psgd.fit: {'.'.join(problem.path)} {text_of(problem)}" for problem in problems]
        raise UsageError("\n".join(dict.fromkeys(lines)))
    return fill_in(settings, []).settings.replace(group=_group(settings))


def _group(settings: Settings) -> str:
    group, processes = settings.group, settings.cluster.processes
    check_launched(group, "group='auto' or 'mpi'")
    if launched():
        return "mpi"
    if group == "auto" and processes:
        raise UsageError(f"processes is {processes}, but group auto is one process here; say group='threads' as well")
    # Not threads: they would silently give wrong results with a function that keeps its activations in an object.
    return "serial" if group == "auto" else group
