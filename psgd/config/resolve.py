"""Resolves a file and the command line to the complete, checked settings of a job, and writes them back to YAML."""

from typing import Any, NamedTuple

from psgd.config.checks import OUTPUTS, classification, validate
from psgd.config.document import read_file, to_yaml
from psgd.config.names import SECTIONS
from psgd.config.overrides import Override, merge, read_overrides
from psgd.config.settings import Own, Settings, WeightedAveraging
from psgd.config.value_checks import involves
from psgd.core.errors import UsageError

# Settings that change where and how fast a run is trained, and no number of it (a GPU's rounding excepted).
NO_EFFECT = frozenset(
    {"group", "device", "compile", "record", "output", "data.path", "cluster.patience", "cluster.processes"}
)
HELD_OUT = 0.05  # share of the training data set aside to choose a contraction, unless data.validation says otherwise


class Resolved(NamedTuple):
    """Settings, and notes for the user on settings that were dropped or filled in."""

    settings: Settings
    notes: list[str]


def resolve(path: str | None, overrides: list[str]) -> Resolved:
    """Read the file and apply the command line to it. Raises UsageError with one line for each problem."""
    document = {} if path is None else read_file(path)
    if "arms" in document:
        raise UsageError(f"{path}: this is the config of a comparison, which has arms; use psgd compare {path}")
    return resolve_document(document, "defaults" if path is None else path, *read_overrides(overrides))


def resolve_document(
    document: dict[str, Any],
    origin: str,
    overrides: list[Override],
    unreadable: list[str],
    by: str = "the command line",
) -> Resolved:
    """Apply overrides to nested mappings, as a file has them. `unreadable`: messages about other overrides. `origin`,
    `by`: in messages, where the two came from. Raises UsageError with one line for each problem."""
    merged = merge(document, overrides, origin, by)
    settings, problems = validate(merged.values, merged.problems)
    called = by.removeprefix("the ")
    messages = [f"{called}: {what}" for what in unreadable]
    for problem in problems:  # each message begins with where the setting was given
        source = called if involves(problem, [override.path for override in overrides]) else origin
        messages.append(f"{source}: {'.'.join(problem.path)} {problem.text}")
    if messages:
        raise UsageError("\n".join(dict.fromkeys(messages)))
    return fill_in(settings, merged.notes)


def dump(settings: Settings) -> str:
    """Write YAML that resolves to the same settings; the tag (name, source) comes first in its section."""
    values = settings.model_dump()
    if isinstance(settings.data, Own):
        values["model"] = {}  # a user's function, about which settings say nothing
    for section, names in SECTIONS.items():
        if names.tag:
            values[section] = {names.tag: values[section][names.tag], **values[section]}
    return to_yaml(values)


def flat(settings: Settings) -> dict[str, Any]:
    """All settings by full name, as plain JSON."""
    found: dict[str, Any] = {}
    for key, value in settings.model_dump(mode="json").items():
        found |= {f"{key}.{name}": each for name, each in value.items()} if isinstance(value, dict) else {key: value}
    return found


def fill_in(settings: Settings, notes: list[str]) -> Resolved:
    """Fill in settings whose defaults depend on others: the output activation, and the share of validation data."""
    if settings.model.output is None:
        settings = settings.replace(model=settings.model.replace(output=_output(settings)))
    if chooses_on_validation(settings) and settings.data.validation == 0:
        settings = settings.replace(data=settings.data.replace(validation=HELD_OUT))
        note = (
            f"data.validation is {HELD_OUT}, not 0: with strategy.contraction holdout and unequal cluster.speeds the "
            "contraction is chosen on validation data; set a number for either to decide it yourself"
        )
        notes = [*notes, note]
    if settings.cluster.unequal and not isinstance(settings.strategy, WeightedAveraging):
        note = (
            f"cluster.speeds does nothing: with strategy.name {settings.strategy.name} all workers take as many steps; "
            "only weighted-averaging follows the speeds"
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
    # Squared error on classes is the network of Nielsen's book: all layers have the same activation, if it is bounded.
    if loss == "squared-error" and classification(settings) and activation in ("sigmoid", "tanh"):
        return activation
    return OUTPUTS.get(loss, ("identity",))[0]
