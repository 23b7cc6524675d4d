"""From a file and the command line to the complete, checked settings of a job; and back to YAML."""

from typing import NamedTuple

from psgd.config.checks import OUTPUTS, check, classification
from psgd.config.document import read_file, write
from psgd.config.names import SECTIONS
from psgd.config.overrides import merge, read_overrides
from psgd.config.problems import involves
from psgd.config.settings import Settings, WeightedAveraging
from psgd.core.errors import UsageError

_COMMAND_LINE = "command line"
HELD_OUT = 0.05  # share of the training data on which a contraction is chosen, where no other share was asked for


class Resolved(NamedTuple):
    """Settings, and notes for the user: which of them were dropped, and which were filled in and why."""

    settings: Settings
    notes: list[str]


def resolve(path: str | None, overrides: list[str]) -> Resolved:
    """Lay the command line over the file over the defaults. UsageError names everything that is wrong, a line each."""
    document = {} if path is None else read_file(path)
    origin = "defaults" if path is None else path
    given, unreadable = read_overrides(overrides)
    merged = merge(document, given, origin)
    settings, problems = check(merged.values, merged.problems)
    messages = [f"{_COMMAND_LINE}: {what}" for what in unreadable]
    for problem in problems:  # named after the place where the user has to look
        source = _COMMAND_LINE if involves(problem, [override.path for override in given]) else origin
        messages.append(f"{source}: {'.'.join(problem.path)} {problem.text}")
    if messages:
        raise UsageError("\n".join(dict.fromkeys(messages)))
    return _fill_in(settings, merged.notes)


def dump(settings: Settings) -> str:
    """YAML that resolves to the same settings; in each section the key that chooses comes first."""
    values = settings.model_dump()
    for section, names in SECTIONS.items():
        if names.tag:
            values[section] = {names.tag: values[section][names.tag], **values[section]}
    return write(values)


def _fill_in(settings: Settings, notes: list[str]) -> Resolved:
    """Decide what depends on other settings: the output activation, and the share of validation data."""
    if settings.model.output is None:
        settings = settings.replace(model=settings.model.replace(output=_output(settings)))
    if chooses_on_validation(settings) and settings.data.validation == 0:
        settings = settings.replace(data=settings.data.replace(validation=HELD_OUT))
        note = (
            f"data.validation is {HELD_OUT}, not 0: with strategy.contraction holdout and unequal cluster.speeds the "
            "contraction is chosen on validation data; set a number for either to decide it yourself"
        )
        notes = [*notes, note]
    return Resolved(settings, notes)


def chooses_on_validation(settings: Settings) -> bool:
    """Whether the strategy chooses a contraction on validation data; with equal speeds all candidates are the same."""
    strategy = settings.strategy
    holdout = isinstance(strategy, WeightedAveraging) and strategy.contraction == "holdout"
    return holdout and settings.cluster.unequal


def _output(settings: Settings) -> str:
    """The output activation that the loss expects."""
    loss, activation = settings.model.loss, settings.model.activation
    # Squared error on classes is Nielsen's network: every layer has the same activation where that is bounded.
    if loss == "squared-error" and classification(settings) and activation in ("sigmoid", "tanh"):
        return activation
    return OUTPUTS.get(loss, ("identity",))[0]
