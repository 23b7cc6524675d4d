"""The plan of a comparison: its cells, and the settings and identity of each run.

A cell is an arm at one point of the grid. A run is a cell with a seed and a value of the tuned setting. Runs of equal
settings on equal data are one run, whatever the cells that want it.
"""

import hashlib
import json
from collections.abc import Callable, Iterable, Iterator
from itertools import product
from typing import Any, NamedTuple, final

from psgd.compare.analysis.grid import cell_name
from psgd.compare.modelled.clock import hosts_used
from psgd.compare.spaces import first_values
from psgd.config.checks import classification
from psgd.config.comparison import MAX_CELLS, OWN_TUNE, Comparison
from psgd.config.document import to_yaml, to_yaml_line
from psgd.config.resolve import NO_EFFECT, flat, resolve
from psgd.config.settings import Settings, WeightedAveraging
from psgd.config.value_checks import shown
from psgd.core.errors import UsageError
from psgd.core.version import __version__
from psgd.data.fingerprint import fingerprint
from psgd.data.sources.load import load_source

# Settings on which no number of a run depends here: a comparison has no target or early stop, and trains on the CPU.
_NEUTRAL = NO_EFFECT | {f"training.{name}" for name in ("checkpoint_seconds", "target", "early_stop", "tf32")}
VALIDATION = 0.1  # share of the training data set aside where the base sets none: arms are judged by it


class Cell(NamedTuple):
    """An arm at one point of the grid. `at`: (axis, label) in the order of the grid."""

    arm: str
    at: tuple[tuple[str, str], ...]

    @property
    def name(self) -> str:
        return cell_name({"arm": self.arm, "at": dict(self.at)})

    def key(self, for_each: list[str]) -> tuple[str, ...]:
        """What cells have in common that are tuned together."""
        return tuple(self.arm if name == "arm" else dict(self.at)[name] for name in for_each)


class Trial(NamedTuple):
    """A run to be trained."""

    settings: Settings
    identity: str  # 16 hex digits


@final
class ComparisonPlan:
    def __init__(
        self, comparison: Comparison, data_fingerprint: Callable[[Settings], str] = lambda settings: ""
    ) -> None:
        """UsageError, with all problems, if the settings of a cell are wrong; DataError for data that cannot be read.
        `data_fingerprint` returns that of the data of settings, which becomes part of the identity of their runs."""
        self.comparison = comparison
        self._data_fingerprint = data_fingerprint
        self.base = resolve(comparison.base, []).settings
        self.evaluate_every = comparison.budget.evaluate_every or self.base.training.evaluate_every  # epochs
        self.spaces = {arm: comparison.space(arm) for arm in comparison.arms}
        self.axes = {axis: list(_choices(axis, values)) for axis, values in comparison.grid.items()}
        self.cells = list(self._cells())
        if not self.cells:
            raise UsageError("exclude leaves no cell of the grid")
        if problems := self._problems():
            raise UsageError("\n".join(problems))
        for cell in self.cells:
            self.trial(cell, comparison.seeds[0])  # reads the data

    def _cells(self) -> Iterator[Cell]:
        """UsageError for too many cells, or an exclusion that fits none."""
        count, excluded = len(self.comparison.arms), self.comparison.exclude
        for labels in self.axes.values():
            count *= len(labels)
        if count > MAX_CELLS:
            raise UsageError(f"arms and grid have {count:,} cells; at most {MAX_CELLS:,} can be compared")
        unused = set(range(len(excluded)))
        for arm, *labels in product(self.comparison.arms, *self.axes.values()):
            cell = Cell(arm, tuple(zip(self.axes, labels, strict=True)))
            point = {"arm": arm, **dict(cell.at)}
            fits = [n for n, each in enumerate(excluded) if all(point[key] == _label(v) for key, v in each.items())]
            unused -= set(fits)
            if not fits:
                yield cell
        for number in sorted(unused):
            raise UsageError(f"exclude[{number}] is {shown(excluded[number])}, which fits no cell; correct or drop it")

    def _problems(self) -> list[str]:
        """What is wrong with the settings of cells: a line for each problem, which says where it is."""
        where: dict[str, list[Cell]] = {}
        for cell in self.cells:
            for problem in self._problems_of(cell):
                where.setdefault(problem, []).append(cell)
        return [f"{self._prefix(cells)}{problem}" for problem, cells in where.items()] or self._loss_problems()

    def _loss_problems(self) -> list[str]:
        """Cells of different losses that one validation loss would judge."""
        losses: dict[str, Cell] = {}
        for cell in self.cells if self.comparison.target.metric == "validation_loss" else ():
            space = self.spaces[cell.arm]
            for value in first_values(space) if space else (None,):
                losses.setdefault(_loss(self.settings(cell, self.comparison.seeds[0], value)), cell)
        if len(losses) < 2:
            return []
        found = "; ".join(f"{loss} of {cell.name}" for loss, cell in losses.items())
        return [
            f"target.metric is validation_loss, but different losses cannot be compared ({found}); set "
            "validation_accuracy, where there are classes, or one loss for all"
        ]

    def _problems_of(self, cell: Cell) -> Iterable[str]:
        comparison, space = self.comparison, self.spaces[cell.arm]
        values = first_values(space) if space else []
        try:
            settings = self.settings(cell, comparison.seeds[0])
            for value in values if space and space.values else (*values[:1], *values[-1:]):
                self.settings(cell, comparison.seeds[0], value)
        except UsageError as error:
            return _lines(error)
        if comparison.tune and (section := _absent_section(settings, comparison.tune.setting)):
            text = (
                f"tune tries values of {comparison.tune.setting}, but {section} is null, and a value would change that"
            )
            return [f"{text}; set {section}, tune another setting, or leave this out"]
        if settings.workers == "auto":
            return ["workers is auto, which depends on the machine; set a number"]
        if comparison.target.metric.endswith("accuracy") and not classification(settings):
            return [f"target.metric is {comparison.target.metric}, but there are no classes; set validation_loss"]
        found = []
        for name, price in comparison.price.items():
            try:
                _ = price == "measured" or hosts_used({"workers": settings.workers}, price.model_dump())
            except UsageError as error:
                found.append(f"price {name}: {error}")
        return found

    def _prefix(self, cells: list[Cell]) -> str:
        """How a message about these cells begins: their names; empty for all cells."""
        arms = dict.fromkeys(cell.arm for cell in cells)
        if cells == self.cells:
            return ""
        if cells == [cell for cell in self.cells if cell.arm in arms]:
            return f"{', '.join(arms)}: "
        return f"{cells[0].name}{f', and {len(cells) - 1} more' * (len(cells) > 1)}: "

    def settings(self, cell: Cell, seed: int, tuned: float | None = None) -> Settings:
        """The settings of a run. UsageError if they are wrong."""
        comparison, tune = self.comparison, self.comparison.tune
        given = {key: value for key, value in comparison.arms[cell.arm].items() if key != OWN_TUNE}
        for axis, label in cell.at:
            given |= _choices(axis, comparison.grid[axis])[label]
        if tune and tuned is not None:
            given[tune.setting] = tuned
        given |= {"training.epochs": comparison.budget.epochs, "training.seed": seed, "training.target": None}
        given |= {"training.evaluate_every": self.evaluate_every, "training.early_stop": None}
        if given.setdefault("device", self.base.device) == "cuda":
            raise UsageError("device is cuda, but a comparison trains on the CPU, whose costs it knows; leave it out")
        given["device"] = "cpu"
        if self.base.data.validation == 0:
            given.setdefault("data.validation", VALIDATION)
        speeds = given.get("cluster.speeds")
        if isinstance(speeds, dict):
            given["cluster.speeds"] = _repeated(speeds, given.get("workers", self.base.workers))
        return resolve(comparison.base, [f"{key}={to_yaml(value).strip()}" for key, value in given.items()]).settings

    def trial(self, cell: Cell, seed: int, tuned: float | None = None) -> Trial:
        """The run of a cell, as it is trained: speeds that only move the modelled clock are left out."""
        settings = self.settings(cell, seed, tuned)
        if not isinstance(settings.strategy, WeightedAveraging):
            settings = settings.replace(cluster=settings.cluster.replace(speeds=None))
        return Trial(settings, identity(settings, self._data_fingerprint(settings)))


@final
class Fingerprints:
    """Fingerprints of the data of settings, so that runs on other data are other runs. Reads each data set once."""

    def __init__(self) -> None:
        self._known: dict[str, str] = {}

    def __call__(self, settings: Settings) -> str:
        """The fingerprint of all data, however they are split and sampled. DataError if they cannot be read."""
        source = settings.data.replace(validation=0.0, mode="shuffle")
        key = source.model_dump_json()
        if key not in self._known:
            self._known[key] = "".join(fingerprint(load_source(source)).values())
        return self._known[key]


def identity(settings: Settings, data_fingerprint: str) -> str:
    """16 hex digits that differ wherever the results of two runs may."""
    values = settings.model_dump(mode="json")
    for name in _NEUTRAL:
        section, _, key = name.rpartition(".")
        (values[section] if section else values).pop(key, None)
    text = json.dumps([__version__, data_fingerprint, values], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def differences(base: Settings, settings: Settings) -> dict[str, Any]:
    """The settings that differ from those of the base, by full name; but for the seed, which is that of a run."""
    old, new = flat(base), flat(settings)
    return {key: value for key, value in new.items() if old.get(key) != value and key != "training.seed"}


def _absent_section(settings: Settings, setting: str) -> str:
    """The section of a setting if it is null, as that of an outer optimizer may be; else nothing."""
    section = setting.rpartition(".")[0]
    return section if flat(settings).get(section, ...) is None else ""


def _lines(error: UsageError) -> list[str]:
    """The problems that an error names."""
    return [line.removeprefix("command line: ") for line in str(error).splitlines()]


def _loss(settings: Settings) -> str:
    """The loss in words, with all that its values depend on."""
    model = settings.model
    return model.loss + f" with the threshold {model.huber_threshold:g}" * (model.loss == "huber")


def _choices(axis: str, values: list[Any] | dict[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """The points of an axis by label, each as settings: a list has values of the setting of its name."""
    return values if isinstance(values, dict) else {_label(value): {axis: value} for value in values}


def _label(value: Any) -> str:
    return value if isinstance(value, str) else to_yaml_line(value)


def _repeated(speeds: dict[str, Any], workers: Any) -> list[Any] | dict[str, Any]:
    """`{repeat: [1, 0.5]}`: these speeds, again and again, for all workers."""
    pattern = speeds.get("repeat")
    if speeds.keys() != {"repeat"} or not isinstance(pattern, list) or not pattern or not isinstance(workers, int):
        return speeds  # whose rule is quoted by the check of settings
    return [pattern[worker % len(pattern)] for worker in range(workers)]
