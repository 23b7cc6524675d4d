"""Reads the config of a comparison, and says what is wrong with it."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from psgd.config.comparison import OWN_TUNE, Budget, Comparison, Price, Space, Target, Tune
from psgd.config.document import read_file
from psgd.config.names import SECTIONS, is_whole, suggestion
from psgd.config.shipped import find_base
from psgd.config.value_checks import shown
from psgd.core.errors import UsageError

# Settings that are the same for all arms, and where the config of a comparison has them.
COMMON = {
    "training.epochs": "budget.epochs",
    "training.evaluate_every": "budget.evaluate_every",
    "training.seed": "seeds",
    "training.target": "target",
}
STOPPING = "training.early_stop"
STOPPED_EARLY = (
    f"{STOPPING} would end some runs before the budget that all have; leave it out: the best score is reported"
)
SAMPLING = "data.mode"  # how workers draw examples: part of an algorithm, unlike the data
# What a value may be, where pydantic would answer for each of several forms.
FORMS = {
    "grid": "it must be a list of values of that setting, or a mapping of names to settings",
    "price": 'it must be measured, or a mapping such as {hosts: 4, network: "100Mbit,1ms"}',
    "target.value": "it must be a number or auto",
    "tune.space": "it must be a mapping such as {log: [0.01, 1], points: 5} or {values: [0.1, 0.3]}",
}
EXAMPLES = {  # of what is no mapping or list, and must be one
    "arms": "a mapping of names to settings, such as {adam: {optimizer.name: adam}}",
    "grid": "a mapping such as {workers: [1, 2, 4]}",
    "exclude": "a list of mappings such as [{workers: 1}]",
    "tune": "a mapping such as {optimizer.learning_rate: {log: [0.01, 1], points: 5}}",
    "budget": "a mapping such as {epochs: 10}",
    "target": "a mapping such as {metric: validation_accuracy, value: auto}",
    "price": "a mapping such as {here: measured}",
}
KINDS = {  # pydantic's types of errors
    "list_type": "it must be a list such as [0, 1, 2]",
    "dict_type": "it must be a mapping such as {optimizer.name: adam}",
    "model_type": "it must be a mapping",
    **dict.fromkeys(("int_type", "int_parsing", "int_from_float"), "it must be a whole number"),
    **dict.fromkeys(("float_type", "float_parsing"), "it must be a number"),
    "string_type": "it must be text",
    "string_pattern_mismatch": "it must be text that is not empty, of one line",
}

NAMES = "a name begins with a letter, a digit or _, and has at most 40 of these, spaces and . + = -"


def read_comparison(path: str) -> Comparison:
    """Read the config of a comparison; its base is a path from its directory, or the name of a config that comes with
    psgd. UsageError with a line for each problem."""
    document = read_file(path)
    if "arms" not in document and (sections := SECTIONS.keys() & document.keys()):
        raise UsageError(
            f"{path}: this is the config of a job, which has {', '.join(sorted(sections))}, and not of a comparison, "
            f"which has arms; train it by psgd train {path}, or name it as the base of a comparison"
        )
    tune = document.get("tune")
    if isinstance(tune, dict) and "setting" not in tune:
        document = {**document, "tune": _in_full(path, tune, document)}
    try:
        comparison = Comparison.model_validate(document)
    except ValidationError as error:
        raise UsageError("\n".join(f"{path}: {each}" for each in _messages(error))) from None
    if problems := list(_problems(comparison)):
        raise UsageError("\n".join(f"{path}: {problem}" for problem in problems))
    if comparison.base:
        comparison = comparison.replace(base=find_base(comparison.base, Path(path).parent).path)
    return comparison


def _in_full(path: str, tune: dict[str, Any], document: dict[str, Any]) -> dict[str, Any]:
    """The section `tune` in its short form, `optimizer.learning_rate: {log: [0.01, 1]}`, in full."""
    spaces = {key: value for key, value in tune.items() if "." in key}
    if len(spaces) != 1:
        others = ", and have an arm for each value of another" if spaces else ""
        raise UsageError(
            f"{path}: tune names {len(spaces)} settings; name one, such as optimizer.learning_rate: "
            f"{{log: [0.01, 1]}}{others}"
        )
    ((setting, space),) = spaces.items()
    grid = document.get("grid") or {}
    rest = {key: value for key, value in tune.items() if key != setting}
    return {"for_each": ["arm", *(grid if isinstance(grid, dict) else ())], **rest, "setting": setting, "space": space}


def _problems(comparison: Comparison) -> Iterator[str]:
    """Rules between the settings of a comparison."""
    arms, grid, target = comparison.arms, comparison.grid, comparison.target
    if comparison.first not in arms:
        yield f"reference is {shown(comparison.first)}, which is none of the arms {', '.join(arms)}"
    if target.metric.endswith("accuracy") and target.value != "auto" and not 0 < target.value <= 1:
        yield f"target.value is {target.value:g}; an accuracy is greater than 0 and at most 1, such as 0.93"
    axes = ["arm", *grid]
    for number, excluded in enumerate(comparison.exclude):
        if not excluded:
            yield f"exclude[{number}] names no axis, so that it would exclude everything; leave it out"
        for key in excluded.keys() - axes:
            yield f"exclude[{number}]: {key} is none of {', '.join(axes)}{suggestion(key, axes)}"
    yield from _grid_problems(comparison)
    for name, price in comparison.price.items():
        if isinstance(price, Price):
            yield from _price_problems(f"price.{name}", price)
    for arm, overrides in arms.items():
        for name in _names(overrides):
            if name in COMMON:
                yield f"arms.{arm}: {name} is the same for all arms; set {COMMON[name]} of the comparison"
            elif name.startswith(STOPPING):
                yield f"arms.{arm}: {STOPPED_EARLY}"
            elif name.startswith("data.") and name != SAMPLING:
                yield f"arms.{arm}: {name} would give the arm other data; all arms train on the same"
    if comparison.tune:
        yield from _tune_problems(comparison, comparison.tune)
    for arm, overrides in arms.items():
        if OWN_TUNE in overrides:
            yield from _own_tune_problems(comparison, arm, overrides[OWN_TUNE])


def _grid_problems(comparison: Comparison) -> Iterator[str]:
    """Axes that are empty, or that set what an arm or another axis sets too."""
    owners = {name: f"arms.{arm}" for arm, given in comparison.arms.items() for name in _names(given)}
    for axis, choices in comparison.grid.items():
        if axis == "arm":
            yield "grid.arm: arm is what the arms are called; choose another name for this axis"
        if not choices:
            yield f"grid.{axis} is empty; leave it out"
        elif isinstance(choices, list) and len({str(each) for each in choices}) < len(choices):
            yield f"grid.{axis} is {shown(choices)}, which names something twice"
        labels = choices.values() if isinstance(choices, dict) else [{axis: None}]
        for name in sorted({name for overrides in labels for name in _names(overrides)}):
            if name in COMMON:
                yield f"grid.{axis}: {name} is the same for all cells; set {COMMON[name]} of the comparison"
            if name.startswith(STOPPING):
                yield f"grid.{axis}: {STOPPED_EARLY}"
            if name in owners:
                yield f"grid.{axis} sets {name}, as {owners[name]} does; leave out one of them"
            owners[name] = f"grid.{axis}"
    tune = comparison.tune
    if tune and tune.setting in owners:
        yield f"tune tries values of {tune.setting}, which {owners[tune.setting]} sets; leave out one of them"


def _price_problems(where: str, price: Price) -> Iterator[str]:
    """Hosts without a network between them, which would be free, and the other way round."""
    if price.hosts > 1 and price.network is None:
        yield (
            f"{where}.hosts is {price.hosts}, but there is no network between them; give bandwidth and one-way "
            'latency, such as network: "1Gbit,0.1ms"'
        )
    if price.hosts == 1 and price.network is not None:
        yield f"{where}.network is {shown(price.network)}, but hosts is 1; set hosts, or leave network out"


def _tune_problems(comparison: Comparison, tune: Tune) -> Iterator[str]:
    axes = ["arm", *comparison.grid]
    for each in tune.for_each:
        if each not in axes:
            yield f"tune.for_each: {each} is none of {', '.join(axes)}{suggestion(each, axes)}"
    yield from _space_problems("tune", tune.setting, tune.space)
    if common := sorted(set(tune.seeds) & set(comparison.seeds)):
        yield (
            f"tune.seeds and seeds both have {', '.join(map(str, common))}; a seed that chose a value must not be "
            "scored, so take others, such as 100"
        )


def _own_tune_problems(comparison: Comparison, arm: str, own: Any) -> Iterator[str]:
    """What is wrong with the `tune` of an arm."""
    tune, where = comparison.tune, f"arms.{arm}.tune"
    if tune is None:
        yield f"{where}: the comparison tunes nothing; add a section tune, or leave this out"
    elif not isinstance(own, dict) or own.keys() != {tune.setting} or not isinstance(own[tune.setting], dict):
        yield (
            f"{where} is {shown(own)}; all arms tune the same setting, so it must be a mapping such as "
            f"{{{tune.setting}: {{log: [0.01, 1]}}}}"
        )
    elif "arm" not in tune.for_each:
        yield f"{where}: tune.for_each leaves out arm, so that all arms share a value; add arm to it"
    else:
        where = f"{where}.{tune.setting}"
        try:
            space = comparison.space(arm)
        except ValidationError as error:
            yield from (f"{where}.{message}" for message in _messages(error, Space))
            return
        assert space
        yield from _space_problems(f"arms.{arm}.tune", tune.setting, space)
        if space.count != tune.space.count:
            yield f"{where} has {space.count} values, and tune {tune.space.count}; all arms must be tuned by as many"


def _space_problems(section: str, setting: str, space: Space) -> Iterator[str]:
    where = f"{section}.{setting}"
    given = [name for name in ("log", "linear", "values") if getattr(space, name)]
    if len(given) != 1:
        yield f"{where} needs one of log, linear, values; it has {', '.join(given) or 'none'}"
    if space.log and space.log[0] <= 0:
        yield f"{where}.log is {shown(space.log)}; its limits must be greater than 0"
    if space.limits and is_whole(setting):
        yield f"{where} has limits, but {setting} must be a whole number; list what to try: {{values: [1, 5, 20]}}"


def _names(overrides: Mapping[str, Any]) -> list[str]:
    """The full names of the settings that are overridden."""
    names = []
    for key, value in overrides.items():
        whole = key in SECTIONS and isinstance(value, dict)
        names += [f"{key}.{part}" for part in value] if whole else [key] * (key != OWN_TUNE)
    return names


def _messages(error: ValidationError, home: type[Any] = Comparison) -> list[str]:
    """What pydantic found, in words; one message for a value, whatever forms it might have."""
    found: dict[str, str] = {}
    for each in error.errors():
        # pydantic adds the forms that it tried, such as int, list[any], literal['auto'] and Price, to the path
        parts = [str(part) for part in each["loc"] if part not in ("Price", "int", "float") and "[" not in str(part)]
        found.setdefault(".".join(parts), _message(parts, each, home))
    # Both `price.x`, which may be a text, and a key of the mapping `price.x` are reported; the key is the reason.
    return [text for path, text in found.items() if not any(other.startswith(f"{path}.") for other in found)]


def _message(parts: list[str], error: Any, home: type[Any]) -> str:
    path = ".".join(parts)
    if error["loc"][-1] == "[key]":  # what is wrong is the name, not what it names
        return f"{'.'.join(parts[:-1])} has the name {shown(error['input'])}; {NAMES}"
    if error["type"] == "missing":
        return f"{path} is missing" + "; name one arm or more and their settings" * (path == "arms")
    if error["type"] == "extra_forbidden":
        sections = {"tune": Space if "space" in parts else Tune, "budget": Budget, "target": Target, "price": Price}
        words = list((sections[parts[0]] if len(parts) > 1 else home).model_fields)
        hint = suggestion(parts[-1], words) or f"; known are {', '.join(words)}"
        return f"{path} is not a setting of a comparison{hint}"
    what = KINDS.get(error["type"]) or error["msg"].removeprefix("Value error, ").replace("Input should", "it must")
    if path in EXAMPLES and error["type"].endswith("_type"):
        what = f"it must be {EXAMPLES[path]}"
    if len(parts) == 2:
        what = FORMS.get(path) or FORMS.get(parts[0]) or what
    return f"{path} is {shown(error['input'])}; {what[0].lower()}{what[1:]}"
