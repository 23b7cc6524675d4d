"""The config of a comparison as pydantic models: arms, a grid, seeds, tuning, budget, target and prices."""

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, ValidationError

from psgd.config.document import read_file
from psgd.config.names import suggestion
from psgd.config.settings import Count, Natural, Positive, Section, Text
from psgd.config.value_checks import shown
from psgd.core.errors import UsageError

MAX_CELLS = 1000  # of arms and grid; raised, a mistake in a config costs more time before anybody notices


def _different(values: list[Any]) -> list[Any]:
    if len({str(value) for value in values}) < len(values):
        raise ValueError("names something twice")
    return values


def _ordered(limits: list[float]) -> list[float]:
    if limits[0] >= limits[1]:
        raise ValueError("its first number must be less than the second")
    return limits


Name = Annotated[str, Field(pattern=r"^\w[\w .+=-]{0,39}$")]
Overrides = dict[str, Any]  # full names of settings -> values, as on the command line
Seeds = Annotated[list[Natural], Field(min_length=1), AfterValidator(_different)]
Limits = Annotated[list[float], Field(min_length=2, max_length=2), AfterValidator(_ordered)]


class Space(Section):
    """Values to try for one setting: `points` of them between two limits, or those that are listed."""

    log: Limits | None = None
    linear: Limits | None = None
    values: Annotated[list[float], Field(min_length=2), AfterValidator(_different)] | None = None
    points: Annotated[int, Field(ge=2, le=100)] = 5

    @property
    def limits(self) -> list[float] | None:
        return self.log or self.linear


class Tune(Section):
    """Which setting is tuned, how, and for which of the arm and the axes of the grid separately."""

    setting: Text
    space: Space
    for_each: Annotated[list[Text], AfterValidator(_different)]
    seeds: Seeds = [100]


class Budget(Section):
    epochs: Positive = 10.0
    evaluate_every: Positive | None = None  # epochs; null: as in the base


class Target(Section):
    metric: Literal["validation_accuracy", "validation_loss"] = "validation_accuracy"
    value: float | Literal["auto"] = "auto"


class Price(Section):
    """A machine and its network, for which times are modelled."""

    hosts: Count = 1
    workers_per_host: Count | None = None  # null: the workers are spread evenly
    network: Text | None = None  # between two hosts: "100Mbit,1ms"; null: there is one host
    machine_speed: Positive = 1.0  # of a core, relative to one of this machine
    dollars_per_host_hour: Positive | None = None
    watts_per_host: Positive | None = None


class Comparison(Section):
    question: Text = "Which arm reaches the target soonest?"
    base: Text | None = None
    arms: Annotated[dict[Name, Overrides], Field(min_length=1, max_length=12)]
    reference: Text | None = None  # the arm that the others are compared with; null: the first
    grid: dict[Name, list[Any] | dict[Name, Overrides]] = {}
    exclude: list[dict[str, Any]] = []
    seeds: Seeds = [0, 1, 2]
    tune: Tune | None = None
    budget: Budget = Budget()
    target: Target = Target()
    price: dict[Name, Literal["measured"] | Price] = {}

    @property
    def first(self) -> str:
        """The arm with which the others are compared."""
        return self.reference or next(iter(self.arms))


def read_comparison(path: str) -> Comparison:
    """Read the config of a comparison; paths in it are relative to its directory. UsageError with a line for each
    problem."""
    document = read_file(path)
    tune = document.get("tune")
    if isinstance(tune, dict) and "setting" not in tune:
        document = {**document, "tune": _tune(path, tune, document)}
    try:
        comparison = Comparison.model_validate(document)
    except ValidationError as error:
        found = [each for each in error.errors() if each["loc"][-1] != "literal['measured']"]  # of two forms
        raise UsageError("\n".join(f"{path}: {_message(each)}" for each in found)) from None
    if problems := list(_problems(comparison)):
        raise UsageError("\n".join(f"{path}: {problem}" for problem in problems))
    if comparison.base:
        comparison = comparison.replace(base=str(Path(path).parent / comparison.base))
    return comparison


def _tune(path: str, tune: dict[str, Any], document: dict[str, Any]) -> dict[str, Any]:
    """The section in its short form, `optimizer.learning_rate: {log: [0.01, 1]}`, in full."""
    spaces = {key: value for key, value in tune.items() if "." in key}
    if len(spaces) != 1:
        raise UsageError(
            f"{path}: tune names {len(spaces)} settings; name one, such as optimizer.learning_rate: {{log: [0.01, 1]}}"
        )
    ((setting, space),) = spaces.items()
    grid = document.get("grid") or {}
    rest = {key: value for key, value in tune.items() if key != setting}
    return {"for_each": ["arm", *(grid if isinstance(grid, dict) else ())], **rest, "setting": setting, "space": space}


def _problems(comparison: Comparison) -> list[str]:
    """Rules between the settings of a comparison."""
    found = []
    if comparison.first not in comparison.arms:
        found.append(f"reference is {shown(comparison.first)}, which is none of the arms {', '.join(comparison.arms)}")
    for axis, choices in comparison.grid.items():
        if not choices:
            found.append(f"grid.{axis} is empty; leave it out")
    axes = {"arm", *comparison.grid}
    for number, excluded in enumerate(comparison.exclude):
        found += [f"exclude[{number}]: {key} is none of {', '.join(sorted(axes))}" for key in excluded.keys() - axes]
    tune = comparison.tune
    if tune:
        found += [
            f"tune.for_each: {each} is none of {', '.join(sorted(axes))}" for each in tune.for_each if each not in axes
        ]
        given = [name for name in ("log", "linear", "values") if getattr(tune.space, name)]
        if len(given) != 1:
            found.append(f"tune.{tune.setting} needs one of log, linear, values; it has {', '.join(given) or 'none'}")
        if tune.space.log and tune.space.log[0] <= 0:
            found.append(f"tune.{tune.setting}.log is {shown(tune.space.log)}; its limits must be greater than 0")
        if set(tune.seeds) & set(comparison.seeds):
            found.append("tune.seeds and seeds have numbers in common; a seed that chose a rate must not be scored")
    return found


def _message(error: Any) -> str:
    """A problem that pydantic found, in words."""
    path = ".".join(str(part) for part in error["loc"] if part != "Price")
    if error["type"] == "extra_forbidden":
        home: Any = {"": Comparison, "tune": Tune, "budget": Budget, "target": Target}.get(
            str(error["loc"][0]) if len(error["loc"]) > 1 else "", Price
        )
        words = list(home.model_fields)
        hint = suggestion(error["loc"][-1], words) or f"; known are {', '.join(words)}"
        return f"{path} is not a setting of a comparison{hint}"
    what = error["msg"].removeprefix("Value error, ")
    return f"{path} is {shown(error['input'])}; {what[0].lower()}{what[1:]}"
