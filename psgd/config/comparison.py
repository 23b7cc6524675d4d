"""The config of a comparison as pydantic models: arms, a grid, seeds, tuning, budget, target and prices.

How it is read, and the rules between its settings: comparison_file.py.
"""

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field

from psgd.config.settings import Section
from psgd.config.value_types import Count, Natural, Positive, Text, different

MAX_CELLS = 1000  # of arms and grid; raised, a mistake in a config costs more time before anybody notices
OWN_TUNE = "tune"  # the key with which an arm has its own values to try


def _ordered(limits: list[float]) -> list[float]:
    if limits[0] >= limits[1]:
        raise ValueError("its first number must be less than the second")
    return limits


Name = Annotated[str, Field(pattern=r"^\w[\w .+=-]{0,39}$")]
Overrides = dict[str, Any]  # full names of settings -> values, as on the command line
Seeds = Annotated[list[Natural], Field(min_length=1), AfterValidator(different)]
Interval = Annotated[list[float], Field(min_length=2, max_length=2), AfterValidator(_ordered)]


class Space(Section):
    """Values to try for one setting: `points` of them between two limits, or those that are listed."""

    log: Interval | None = None
    linear: Interval | None = None
    values: Annotated[list[int | float], Field(min_length=2), AfterValidator(different)] | None = None
    points: Annotated[int, Field(ge=2, le=100)] = 5

    @property
    def limits(self) -> list[float] | None:
        return self.log or self.linear

    @property
    def count(self) -> int:
        """How many values are tried first."""
        return len(self.values) if self.values else self.points


class Tune(Section):
    """Which setting is tuned, how, and for which of the arm and the axes of the grid separately."""

    setting: Text
    space: Space
    for_each: Annotated[list[Text], AfterValidator(different)]
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

    def space(self, arm: str) -> Space | None:
        """The values to try for the tuned setting: the arm's own, or the common ones. None if nothing is tuned.
        ValidationError if the arm's own are wrong."""
        if self.tune is None:
            return None
        common, own = self.tune.space, (self.arms[arm].get(OWN_TUNE) or {}).get(self.tune.setting)
        return common if own is None else Space.model_validate({"points": common.points, **own})
