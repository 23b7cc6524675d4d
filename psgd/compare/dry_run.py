"""What a comparison would train, and an estimate of the time that it takes."""

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from psgd.compare import numbers
from psgd.compare.cost_cache import CostCache
from psgd.compare.directory import earlier_results
from psgd.compare.estimate import TimeEstimator
from psgd.compare.finished_run import ENDED, status
from psgd.compare.plan import Cell, ComparisonPlan, Trial
from psgd.compare.spaces import EXTENDED_BY
from psgd.compare.tuning import MAX_EXTENSIONS, tuning_trials
from psgd.config.settings import Settings
from psgd.core.errors import PsgdError
from psgd.core.wording import counted

REPORT_SECONDS = 3.0  # of computing the findings and drawing the figures


class Phase(NamedTuple):
    """Runs of one kind: all distinct ones, and those that are not done yet."""

    all: list[Trial]
    missing: list[Trial]


def describe_plan(plan: ComparisonPlan, directory: Path, side_by_side: int) -> list[str]:
    """Lines about the cells, the distinct runs, and the time that those take which are missing in `directory`, with
    `side_by_side` runs at once. Measures for some seconds, and writes nothing. DataError for broken earlier results."""
    tried = tuning_trials(plan)
    scored = _scored(plan, tried, _tuned(directory))
    tuning = _phase([t for trials in tried.values() for t in trials], directory / "runs")
    scoring = _phase([t for trials in scored.values() for t in trials], directory / "runs")
    lines = [f"{counted(len(plan.cells), 'cell')}, each with {counted(len(plan.comparison.seeds), 'seed')}:"]
    lines += _cells(scored)
    measured = not plan.comparison.price or "measured" in plan.comparison.price.values()
    even = [t for cell in plan.cells if not plan.settings(cell, 0).cluster.unequal for t in scored[cell]]
    timing = _phase(even if measured else [], directory / "timed")
    lines += [_runs("tuning", tuning), *_extensions(plan)] if tuning.all else []
    lines.append(_runs("scoring", scoring))
    lines += [_runs("timing, one at a time", timing)] if timing.all else []
    book = CostCache(directory)
    unknown = [trial.settings for trials in scored.values() for trial in trials[:1] if not book.knows(trial.settings)]
    names = {trial.identity: cell.name for cell, trials in reversed(scored.items()) for trial in trials}
    return [*lines, *_estimate(TimeEstimator(plan.base), tuning, scoring, timing, unknown, names, side_by_side)]


def _scored(
    plan: ComparisonPlan,
    tried: dict[tuple[str, ...], list[Trial]],
    tuned: dict[tuple[str, tuple[tuple[str, str], ...]], float],
) -> dict[Cell, list[Trial]]:
    """The runs to be scored. Until a cell is tuned, these are taken to be the same as those of another cell only if the
    same values are tried for both."""
    section = plan.comparison.tune
    scored: dict[Cell, list[Trial]] = {}
    for cell in plan.cells:
        value = tuned.get((cell.arm, cell.at))
        scored[cell] = [plan.trial(cell, seed, value) for seed in plan.comparison.seeds]
        if section and value is None:
            values = " ".join(trial.identity for trial in tried[cell.key(section.for_each)])
            own = hashlib.sha256(values.encode()).hexdigest()[:16]
            scored[cell] = [trial._replace(identity=f"{trial.identity}-{own}") for trial in scored[cell]]
    return scored


def _cells(scored: dict[Cell, list[Trial]]) -> Iterable[str]:
    """A line for each cell; one whose runs are those of another says so."""
    first: dict[tuple[str, ...], Cell] = {}
    for cell, trials in scored.items():
        same = first.setdefault(tuple(trial.identity for trial in trials), cell)
        yield f"  {cell.name}" + (f" (the same runs as {same.name})" if same != cell else "")


def _phase(trials: list[Trial], directory: Path) -> Phase:
    distinct = list({trial.identity: trial for trial in trials}.values())
    return Phase(distinct, [trial for trial in distinct if status(directory / trial.identity) not in ENDED])


def _runs(name: str, phase: Phase) -> str:
    done = len(phase.all) - len(phase.missing)
    return f"Runs for {name}: {len(phase.all)}" + (f", of which {done} are done" if done else "")


def _extensions(plan: ComparisonPlan) -> list[str]:
    """How many runs the extension of spaces may add."""
    tune = plan.comparison.tune
    if tune is None:
        return []
    groups = {cell.key(tune.for_each): plan.spaces[cell.arm] for cell in plan.cells}
    extensible = sum(space is not None and not space.values for space in groups.values())
    most = extensible * MAX_EXTENSIONS * EXTENDED_BY * len(tune.seeds)
    return [f"  and up to {most} more, where the best value lies at the edge of those tried"] if most else []


def _tuned(directory: Path) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    """The tuned values of an earlier call, by arm and grid point."""
    results = earlier_results(directory) or {"cells": []}
    return {
        (cell["arm"], tuple(cell["at"].items())): value
        for cell in results["cells"]
        for value in cell["tuned"].values()
        if value is not None
    }


def _estimate(
    estimator: TimeEstimator,
    tuning: Phase,
    scoring: Phase,
    timing: Phase,
    unknown: Sequence[Settings],
    names: Mapping[str, str],
    side_by_side: int,
) -> list[str]:
    """A line about the time, after one for each cell whose runs will fail. `unknown`: settings whose costs must be
    measured. `names`: of cells, by the identity of a run."""
    problems: dict[str, str] = {}

    def each(phase: Phase, alone: bool = False) -> list[float]:
        found = []
        for trial in phase.missing:
            try:
                found.append(estimator.run(trial.settings, alone))
            except PsgdError as error:
                problems.setdefault(str(error), names.get(trial.identity, "tuning"))
        return found

    def together(phase: Phase) -> float:
        """Seconds of runs side by side."""
        seconds = each(phase)
        slowdown = estimator.slowdown() if side_by_side > 1 and len(seconds) > 1 else 1.0
        return max(sum(seconds) / side_by_side, max(seconds, default=0.0)) * slowdown

    parts = {"tuning": together(tuning), "scoring": together(scoring), "timing": sum(each(timing, alone=True))}
    parts["costs and report"] = estimator.costs(unknown) + REPORT_SECONDS
    said = ", ".join(f"{name} {numbers.seconds(value)}" for name, value in parts.items() if value)
    return [
        *(f"{name} will fail: {problem}" for problem, name in problems.items()),
        f"Estimated time: {numbers.seconds(sum(parts.values()))} ({said}), with {counted(side_by_side, 'run')} at once",
    ]
