"""Tunes a setting, usually the learning rate, for each arm and each of the chosen axes: equally many values for all, on
validation data, with seeds that are never scored."""

import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from psgd.compare.analysis.crossing import higher_is_better
from psgd.compare.finished_run import read_entry
from psgd.compare.plan import Cell, ComparisonPlan, Trial
from psgd.compare.runs import Outcome
from psgd.compare.spaces import beyond, first_values
from psgd.config.comparison import Space, Tune
from psgd.core.errors import UsageError

MAX_EXTENSIONS = 2  # of a space at whose edge the best value lies

Train = Callable[[Sequence[Trial]], dict[str, Outcome]]


class Tuned(NamedTuple):
    value: float | None  # None if every value failed
    why_not: str  # why cells with this value cannot be compared; empty if they can
    report: dict[str, Any]  # the entry "tuning" of results.json


def tune(plan: ComparisonPlan, train: Train) -> dict[tuple[str, ...], Tuned]:
    """Tune for each group of cells that the config names by for_each, represented by the first of its cells. Returns
    the outcomes by `Cell.key`; nothing is tuned without a section `tune`."""
    section = plan.comparison.tune
    if section is None:
        return {}
    cells = _representatives(plan, section)
    tried = {key: first_values(_space(plan, cell)) for key, cell in cells.items()}
    extensions = dict.fromkeys(cells, 0)
    trials: dict[tuple[str, ...], list[dict[str, Any]]] = {}
    while True:
        runs = {key: {v: _trials(plan, cells[key], v) for v in tried[key]} for key in cells}
        outcomes = train([t for by_value in runs.values() for each in by_value.values() for t in each])
        for key, by_value in runs.items():
            trials[key] = [_scored(plan, value, each, outcomes) for value, each in sorted(by_value.items())]
        more = {}
        for key, cell in cells.items():
            if extensions[key] == MAX_EXTENSIONS:
                continue
            values = _further(plan, cell, [t["value"] for t in trials[key]], best(trials[key]))
            if values:
                more[key] = values
        if not more:
            break
        for key, values in more.items():
            tried[key] += values
            extensions[key] += 1
    return {key: _outcome(plan, cells[key], trials[key], extensions[key]) for key in cells}


def best(trials: list[dict[str, Any]]) -> float | None:
    """The value with the best score. None if every value failed."""
    scored = [trial for trial in trials if trial["rank"] is not None]
    return max(scored, key=lambda trial: tuple(trial["rank"]))["value"] if scored else None


def tuning_trials(plan: ComparisonPlan) -> dict[tuple[str, ...], list[Trial]]:
    """The runs that are trained first, by `Cell.key`."""
    section = plan.comparison.tune
    if section is None:
        return {}
    return {
        key: [trial for value in first_values(_space(plan, cell)) for trial in _trials(plan, cell, value)]
        for key, cell in _representatives(plan, section).items()
    }


def _representatives(plan: ComparisonPlan, section: Tune) -> dict[tuple[str, ...], Cell]:
    """The first cell of each group that is tuned together."""
    cells: dict[tuple[str, ...], Cell] = {}
    for cell in plan.cells:
        cells.setdefault(cell.key(section.for_each), cell)
    return cells


def _further(plan: ComparisonPlan, cell: Cell, tried: list[float], winner: float | None) -> list[float]:
    """Values beyond the edge, as far as the settings may have them: a momentum, say, must be below 1."""
    found = []
    for value in beyond(_space(plan, cell), tried, winner):
        try:
            plan.settings(cell, plan.comparison.seeds[0], value)
        except UsageError:
            break
        found.append(value)
    return found


def _space(plan: ComparisonPlan, cell: Cell) -> Space:
    space = plan.spaces[cell.arm]
    assert space
    return space


def _trials(plan: ComparisonPlan, cell: Cell, value: float) -> list[Trial]:
    assert plan.comparison.tune
    return [plan.trial(cell, seed, value) for seed in plan.comparison.tune.seeds]


def _scored(plan: ComparisonPlan, value: float, trials: list[Trial], outcomes: dict[str, Outcome]) -> dict[str, Any]:
    """The best score of each tuning seed, and the rank of the value: the mean of these and, where they tie, the mean
    over all evaluations, which is better for a run that is good earlier. A value with a failed run has no rank."""
    metric = plan.comparison.target.metric
    sign = 1 if higher_is_better(metric) else -1
    scores: list[float | None] = []
    means, error, examples = [], None, 0
    for trial in trials:
        directory, failure, diverged = outcomes[trial.identity]
        record = read_entry(0, directory, failure, diverged)
        series = [sign * each for each in record["series"].get(metric, []) if each is not None and math.isfinite(each)]
        examples += (record["series"]["examples"] or [0])[-1]
        if record["error"] or not series:
            error = record["error"] or f"it has no {metric}"
            scores.append(None)
            continue
        scores.append(sign * max(series))
        means.append((max(series), float(np.mean(series))))
    rank = None if error else np.mean(means, axis=0).tolist()
    return {"value": value, "scores": scores, "error": error, "rank": rank, "examples": examples}


def _outcome(plan: ComparisonPlan, cell: Cell, trials: list[dict[str, Any]], extended: int) -> Tuned:
    assert plan.comparison.tune
    setting, winner = plan.comparison.tune.setting, best(trials)
    why_not = ""
    if winner is None:
        why_not = f"every value of {setting} failed: {trials[0]['error']}"
    elif winner in (trials[0]["value"], trials[-1]["value"]):
        tries = f"although they were extended {extended} times"
        if extended < MAX_EXTENSIONS:
            tries = "and a list of values is not extended" if _space(plan, cell).values else "and cannot lie beyond it"
        why_not = f"the best {setting}, {winner:g}, is at the edge of the values tried, {tries}"
    report = {
        "setting": setting,
        "trials": [{name: trial[name] for name in ("value", "scores", "error")} for trial in trials],
        "extended": extended,
        "examples": sum(trial["examples"] for trial in trials),
    }
    return Tuned(winner, why_not, report)
