"""Carries out a comparison: tunes, trains, times and measures what is missing, and gathers it as results.json."""

from collections.abc import Sequence
from statistics import median_high, median_low
from typing import Any, final

from psgd.backends.blas import describe_blas
from psgd.compare import numbers
from psgd.compare.analysis.crossing import best_score, higher_is_better
from psgd.compare.cost_cache import CostCache
from psgd.compare.directory import BASE
from psgd.compare.finished_run import read_entry, read_examples_per_epoch
from psgd.compare.plan import Cell, ComparisonPlan, Trial, differences
from psgd.compare.results_file import SCHEMA
from psgd.compare.runs import Outcome, Runs
from psgd.compare.timing import time_runs
from psgd.compare.tuning import Tuned, tune
from psgd.config.resolve import flat
from psgd.core.errors import Diverged
from psgd.core.log import LOG
from psgd.core.version import __version__
from psgd.jobs.environment import environment


@final
class ComparisonRunner:
    """Runs in the directory of `runs` that are done are not trained again."""

    def __init__(
        self, plan: ComparisonPlan, runs: Runs, costs: CostCache, earlier: dict[str, Any] | None = None
    ) -> None:
        """`earlier`: the results of an earlier call, whose automatic target more seeds and arms do not change."""
        self._plan, self._comparison, self._runs, self._costs = plan, plan.comparison, runs, costs
        self._earlier = earlier
        self._base = plan.base
        self._tuned: dict[tuple[str, ...], Tuned] = {}
        self._cells: dict[Cell, dict[str, Any]] = {}

    def run(self) -> dict[str, Any]:
        """Train what is missing; return results.json, without findings."""
        self._tuned = tune(self._plan, lambda trials: self._train("tuning", trials))
        references = self._target_cells()
        self._score(references)
        target = self._target(references)
        self._score([cell for cell in self._plan.cells if cell not in references])
        if "measured" in self._comparison.price.values() or not self._comparison.price:
            self._time()
        self._look_up_costs()
        c = self._comparison
        return {
            "schema": SCHEMA,
            "psgd": __version__,
            "question": c.question,
            "config": c.replace(base=BASE).model_dump(mode="json"),
            "base": flat(self._base),
            "machine": _machine(),
            "reference": c.first,
            "arms": list(c.arms),
            "axes": self._plan.axes,
            "seeds": c.seeds,
            "budget": {"epochs": c.budget.epochs, "evaluate_every": self._plan.evaluate_every},
            "target": target,
            "cells": [self._cells[cell] for cell in self._plan.cells],
            "prices": c.model_dump(mode="json")["price"],
        }

    def _train(self, what: str, trials: Sequence[Trial]) -> dict[str, Outcome]:
        return self._runs.train(trials, what)

    def _tuned_for(self, cell: Cell) -> Tuned | None:
        section = self._comparison.tune
        return self._tuned[cell.key(section.for_each)] if section else None

    def _trial(self, cell: Cell, seed: int) -> Trial:
        tuned = self._tuned_for(cell)
        return self._plan.trial(cell, seed, tuned.value if tuned else None)

    def _target_cells(self) -> list[Cell]:
        """The cells by which an automatic target is set: the reference's, or else another arm's, with one worker or the
        fewest."""
        workers = {cell: self._plan.settings(cell, self._comparison.seeds[0]).worker_count for cell in self._plan.cells}
        own = [cell for cell in self._plan.cells if cell.arm == self._comparison.first]
        candidates = own if any(workers[cell] == 1 for cell in own) else self._plan.cells
        fewest = min(workers[cell] for cell in candidates)
        return [next(cell for cell in candidates if workers[cell] == fewest)]

    def _target(self, cells: list[Cell]) -> dict[str, Any]:
        given = self._comparison.target
        common = {"metric": given.metric}
        if given.value != "auto":
            return {**common, "value": given.value, "origin": "given", "note": self._note_on_given(given.value)}
        if earlier := self._earlier_target():
            return earlier
        higher = higher_is_better(given.metric)
        runs = [run for cell in cells for run in self._cells[cell]["runs"]]
        scores = [best_score(run["series"].get(given.metric, ()), higher) for run in runs]
        best = [score for score in scores if score is not None]
        seeds = ", ".join(str(run["seed"]) for run in self._cells[cells[0]]["runs"])
        note = f"the median over the seeds {seeds} of the best {given.metric.replace('_', ' ')} of {cells[0].name}"
        # The mean of the middle two of an even number would be missed by half of the runs, which then have no time.
        middle = median_low if higher else median_high
        return {**common, "value": middle(best) if best else None, "origin": "auto", "note": note}

    def _note_on_given(self, value: float) -> str:
        """Where a given target is from. A reader must know of an earlier one, whose results may have been seen."""
        before = self._earlier["target"] if self._earlier else None
        if before is None or before["value"] is None:
            return "as the config says"
        if before["value"] == value and before["origin"] == "given":
            return str(before["note"])
        return f"as the config says, after an earlier call with the target {numbers.digits(before['value'], 3)}"

    def _earlier_target(self) -> dict[str, Any] | None:
        """The automatic target that an earlier call has set, if its runs are those of this call: by another version of
        psgd, or on other data, they would not be."""
        if self._earlier is None or self._earlier["target"]["value"] is None:
            return None
        if self._earlier["target"]["origin"] != "auto":
            return None
        old = {
            (c["arm"], *c["at"].values(), run["seed"]): run["id"] for c in self._earlier["cells"] for run in c["runs"]
        }
        new = {
            (cell.arm, *dict(cell.at).values(), run["seed"]): run["id"]
            for cell, entry in self._cells.items()
            for run in entry["runs"]
        }
        common = old.keys() & new.keys()
        return dict(self._earlier["target"]) if common and all(old[key] == new[key] for key in common) else None

    def _score(self, cells: list[Cell]) -> None:
        """Train all seeds of these cells. After a cell's first run has failed, its others are not trained."""
        first, *rest = self._comparison.seeds
        self._outcomes_of(cells, [first])
        whole = [cell for cell in cells if not self._cells[cell]["error"]]
        if rest:
            self._outcomes_of(whole, rest)

    def _outcomes_of(self, cells: list[Cell], seeds: list[int]) -> None:
        usable = [cell for cell in cells if not (tuned := self._tuned_for(cell)) or tuned.value is not None]
        trials = {(cell, seed): self._trial(cell, seed) for cell in usable for seed in seeds}
        outcomes = self._train("scoring", list(trials.values()))
        for cell in cells:
            entry = self._cells.setdefault(cell, self._entry(cell))
            for seed in seeds if cell in usable else ():
                outcome = outcomes[trials[cell, seed].identity]
                entry["runs"].append(read_entry(seed, *outcome))
                entry["examples_per_epoch"] = entry["examples_per_epoch"] or read_examples_per_epoch(outcome.directory)
                if outcome.error and not outcome.diverged:
                    self._fail(cell, outcome.error)

    def _time(self) -> None:
        """Time the runs, seed by seed: a machine that is slower for a while is so for all arms of a seed, and not for
        all seeds of an arm, whose time would seem to be another."""
        timed = [(cell, entry) for cell, entry in self._cells.items() if set(entry["speeds"]) == {1.0}]
        if len(timed) < len(self._cells):
            LOG.info("psgd: workers of unequal speeds are not timed here, where all are equally fast: give a price")
        wanted = [
            (self._trial(cell, seed), cell.name, run)
            for seed in self._comparison.seeds
            for cell, entry in timed
            for run in entry["runs"]
            if (run["seed"], run["status"]) == (seed, "done")
        ]
        time_runs(self._runs, wanted)

    def _look_up_costs(self) -> None:
        """Add its costs to each cell. One whose steps diverge even while they are measured has failed."""
        for cell, entry in self._cells.items():
            if not entry["error"]:
                try:
                    entry |= self._costs.look_up(self._trial(cell, self._comparison.seeds[0]).settings)
                except Diverged as error:
                    self._fail(cell, f"its costs cannot be measured: {error}")

    def _fail(self, cell: Cell, error: str) -> None:
        entry = self._cells[cell]
        entry["error"] = entry["error"] or error
        LOG.warning("psgd: %s failed: %s", cell.name, error)

    def _entry(self, cell: Cell) -> dict[str, Any]:
        tuned = self._tuned_for(cell)
        value = tuned.value if tuned else None
        settings = self._plan.settings(cell, self._comparison.seeds[0], value)
        why_not = tuned.why_not if tuned else ""
        strategy, workers = settings.strategy, settings.worker_count
        return {
            "arm": cell.arm,
            "at": dict(cell.at),
            "settings": differences(self._base, settings),
            "strategy": strategy.name,
            "workers": workers,
            "speeds": settings.cluster.speeds or [1.0] * workers,
            "period": settings.averaging.period if settings.averaging else None,
            "batch": settings.training.batch_size_per_worker,
            "examples_per_epoch": None,
            "learning_rate": settings.optimizer.learning_rate,
            "tuned": {self._comparison.tune.setting: value} if self._comparison.tune and tuned else {},
            "tuning": tuned.report if tuned else None,
            "comparable": not why_not,
            "why_not": why_not,
            "error": why_not if tuned and value is None else None,
            "parameters": None,
            "message_bytes": None,
            "costs": None,
            "costs_idle": None,
            "runs": [],
        }


def _machine() -> dict[str, Any]:
    found, blas = environment([]), describe_blas()
    kept = {name: found[name] for name in ("cpu", "cores", "platform", "python", "packages")}
    return {**kept, "blas": f"{blas['name']} {blas['version']} {blas['kernel']}"}
