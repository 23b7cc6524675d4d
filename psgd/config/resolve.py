"""From a file and the command line to the settings of a job: every one of them present, checked and plain."""

from typing import Any, NamedTuple

from psgd.config.checks import check_together, classification
from psgd.config.document import read_file, write
from psgd.config.names import SECTIONS, TOP
from psgd.config.overrides import Override, merge, read_overrides
from psgd.config.problems import Problem, check_values, related
from psgd.config.schema import Settings, WeightedAveraging
from psgd.core.errors import UsageError

_COMMAND_LINE = "command line"
_HELD_OUT = 0.05


class Resolved(NamedTuple):
    """`settings` holds only what JSON can; `notes` are for the user: what was dropped, and what was settled and why."""

    settings: dict[str, Any]
    notes: list[str]


def resolve(path: str | None, overrides: list[str]) -> Resolved:
    """The command line over the file over the defaults; UsageError says all that is wrong, a line each."""
    document = {} if path is None else read_file(path)
    origin = "defaults" if path is None else path
    given, unreadable = read_overrides(overrides)
    merged = merge(document, given, origin)
    settings, problems = check_values(merged.values)
    problems += merged.problems
    # A setting that is wrong by itself says nothing about the others.
    wrong = [problem.path for problem in problems]
    problems += [problem for problem in check_together(settings) if not _involves(problem, wrong)]
    messages = [f"{_COMMAND_LINE}: {what}" for what in unreadable]
    messages += [f"{_source(problem, given, origin)}: {'.'.join(problem.path)} {problem.text}" for problem in problems]
    if messages:
        raise UsageError("\n".join(dict.fromkeys(messages)))
    return _settled(settings, merged.notes)


def dump(settings: dict[str, Any]) -> str:
    """YAML that resolves to the same settings."""
    return write(settings)


def _involves(problem: Problem, paths: list[tuple[str, ...]]) -> bool:
    return any(related(path, part) for path in paths for part in (problem.path, *problem.others))


def _source(problem: Problem, given: list[Override], origin: str) -> str:
    """Where the user has to look: the command line as soon as it takes part."""
    return _COMMAND_LINE if _involves(problem, [override.path for override in given]) else origin


def _settled(settings: Settings, notes: list[str]) -> Resolved:
    """Fills in what depends on other settings."""
    dumped = settings.model_dump()
    plain = {key: _tag_first(key, dumped[key]) for key in TOP}
    notes = list(notes)
    if settings.model.output is None:
        plain["model"]["output"] = _output(settings)
    speeds = settings.cluster.speeds
    unequal = speeds is not None and any(speed != 1 for speed in speeds)
    strategy = settings.strategy
    holdout = isinstance(strategy, WeightedAveraging) and strategy.contraction == "holdout"
    if holdout and unequal and settings.data.validation == 0:
        plain["data"]["validation"] = _HELD_OUT
        notes.append(
            f"data.validation is {_HELD_OUT}, not 0: with strategy.contraction holdout and unequal cluster.speeds the "
            "contraction is chosen on validation data; set a number for either to decide it yourself"
        )
    return Resolved(plain, notes)


def _tag_first(section: str, value: Any) -> Any:
    tag = SECTIONS[section].tag if section in SECTIONS else None
    return {tag: value[tag], **value} if tag else value


def _output(settings: Settings) -> str:
    """The output activation that a loss expects."""
    loss, activation = settings.model.loss, settings.model.activation
    if loss == "cross-entropy":
        return "softmax"
    if loss == "binary-cross-entropy":
        return "sigmoid"
    # Squared error on classes is Nielsen's network: every layer has the same activation where that is bounded.
    if loss == "squared-error" and classification(settings) and activation in ("sigmoid", "tanh"):
        return activation
    return "identity"
