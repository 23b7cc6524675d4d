"""The findings of a comparison, from results.json alone: times to the target by grid point and price, the paired
comparison of each arm with the reference, and whether the verdict depends on the target."""

from collections.abc import Iterator, Mapping
from dataclasses import asdict
from itertools import product
from math import ceil
from statistics import fmean
from typing import Any, NamedTuple

import numpy as np

from psgd.compare.analysis.crossing import (
    Crossing,
    best_score,
    final_score,
    first_crossing,
    first_reached,
    higher_is_better,
)
from psgd.compare.analysis.grid import examples_per_epoch, grid_points
from psgd.compare.analysis.statistics import PairedComparison, across_arms, median_of_all, paired, summarize_times
from psgd.compare.modelled.clock import TimeParts, spent, times
from psgd.compare.modelled.work import sent
from psgd.compare.results_file import Json
from psgd.core.portable_math import as_written
from psgd.strategy.plans import exact_speeds, period_to_end

# Factors by which the distance of a target from perfection is changed, to see whether the verdict depends on it.
DISTANCES = (1.5, 1.2, 0.9)


class Timed(NamedTuple):
    """A run under a price: seconds at its evaluations, and those of its whole budget."""

    run: Json
    parts: TimeParts
    budget: float


def analyse(results: Json) -> Json:
    """Return the entry `findings` of results.json, without sentences."""
    targets = all_targets(results["target"]["metric"], results["target"]["value"])
    tables: list[Json] = []
    verdicts: dict[tuple[Any, ...], dict[float, str]] = {}
    for at, price in product(grid_points(results), results["prices"] or {"here": "measured"}):
        for target in targets:
            table = _table(results, at, price, target)
            if table and target == results["target"]["value"]:
                tables.append(table)
            for row in table["rows"] if table else ():
                if row["ratio"]:
                    key = (tuple(at.items()), price, row["arm"])
                    verdicts.setdefault(key, {})[target] = row["ratio"]["verdict"]
    flips = [
        {"at": dict(at), "price": price, "arm": arm, "verdicts": {f"{t:g}": v for t, v in by_target.items()}}
        for (at, price, arm), by_target in verdicts.items()
        if {"faster", "slower"} <= set(by_target.values())
    ]
    return {"tables": tables, "targets": targets, "flips": flips}


def all_targets(metric: str, value: float | None) -> list[float]:
    """The target and others around it, which are further from and closer to perfection, the easiest first."""
    if value is None:
        return []
    if not higher_is_better(metric):
        return sorted({value * factor for factor in (*DISTANCES, 1.0)}, reverse=True)
    around = {round(1 - (1 - value) * factor, 6) for factor in DISTANCES if value < 1}
    return sorted({target for target in around if target > 0} | {value})


def timed_runs(cell: Json, price: Any, budget_examples: int) -> Iterator[Timed]:
    """The runs of a cell under a price. One that diverged took as long up to each evaluation, and would have taken as
    long for its budget, as those that are done: their rounds are the same. Runs that cannot be timed are left out."""
    found = [(run, times(cell, run, price)) for run in cell["runs"]]
    done = [parts for run, parts in found if run["status"] == "done" and parts and len(parts.seconds)]
    for run, parts in found:
        if run["status"] == "diverged":
            count = len(run["series"]["examples"])
            if parts is None and done:
                parts = TimeParts(np.median([each.seconds for each in done], axis=0)[:count], None, None, None)
            whole = float(np.median([each.seconds[-1] for each in done])) if done else None
            whole = _whole(cell, run, price, budget_examples) if whole is None and parts else whole
            if parts and whole:
                yield Timed(run, parts, whole)
        elif parts and len(parts.seconds):
            yield Timed(run, parts, float(parts.seconds[-1]))


def _whole(cell: Json, run: Json, price: Any, budget_examples: int) -> float:
    """Modelled seconds of the whole budget of a run that was not trained to its end; 0 if they are unknown."""
    if not budget_examples:
        return 0.0
    weighted = cell["strategy"] == "weighted-averaging"
    speeds = exact_speeds(cell["speeds"] if weighted else None, cell["workers"])
    batches, period = ceil(budget_examples / cell["batch"]), cell["period"] or 1
    steps = period_to_end(batches, speeds) if period == "end" else period
    rounds = ceil(batches / (steps * sum(speeds)))
    done = {"rounds": rounds, "worker_steps": [steps * rounds], "series": {"rounds": [rounds]}}
    parts = times(cell, {**run, **done}, price)
    return float(parts.seconds[-1]) if parts else 0.0


def crossings(results: Json, cell: Json, price: Any, target: float) -> dict[int, tuple[Timed, Crossing]]:
    """When each run of a cell reached the target, by seed."""
    metric = results["target"]["metric"]
    higher, found = higher_is_better(metric), {}
    for timed in timed_runs(cell, price, _budget_examples(results, cell)):
        scores, seconds = timed.run["series"].get(metric, []), timed.parts.seconds.tolist()
        crossing = first_crossing(seconds, scores, target, higher, timed.budget)
        if crossing.reached:
            index = seconds.index(crossing.high)
            crossing = crossing._replace(low=_first_round_after(timed.run["series"]["rounds"], seconds, index))
        found[int(timed.run["seed"])] = timed, crossing
    return found


def _first_round_after(rounds: list[int], seconds: list[float], index: int) -> float:
    """The end of the first round after the evaluation before `index`: parameters change at the end of a round, so that
    the target was not reached earlier. Rounds between two evaluations are taken to be equally long."""
    begun, since = (rounds[index - 1], seconds[index - 1]) if index else (0, 0.0)
    return since + (seconds[index] - since) / max(1, rounds[index] - begun)


def same_runs(one: Json, other: Json) -> list[int]:
    """The seeds with which two cells trained the same bits, and evaluated them at the same places: where those differ,
    one may seem to reach the target later."""
    evaluated = {run["seed"]: (run["sha256"], run["series"].get("examples")) for run in one["runs"]}
    return [
        run["seed"]
        for run in other["runs"]
        if run["sha256"] and evaluated.get(run["seed"]) == (run["sha256"], run["series"].get("examples"))
    ]


def against(
    reference: str, cells: Mapping[str, Json], times: Mapping[str, Mapping[int, Crossing]]
) -> dict[str, PairedComparison]:
    """Compare the times of the other arms, by seed, with those of the reference, adjusted for the number of arms."""
    others = [arm for arm in times if arm != reference]
    same = [same_runs(cells[arm], cells[reference]) for arm in others]
    pairs = [paired(times[arm], times[reference], same_runs=s) for arm, s in zip(others, same, strict=True)]
    return dict(zip(others, across_arms(pairs), strict=True))


def _budget_examples(results: Json, cell: Json) -> int:
    """Examples of the budget of a cell's runs; a run ends with the first round at or after them. 0 if unknown."""
    return ceil(as_written(results["budget"]["epochs"]) * int(examples_per_epoch(results, cell) or 0))


def _table(results: Json, at: Mapping[str, str], price_name: str, target: float) -> Json | None:
    """The arms at one grid point under one price. None if nothing was timed there."""
    price = results["prices"].get(price_name, "measured")
    cells = {cell["arm"]: cell for cell in results["cells"] if cell["at"] == at}
    found = {arm: crossings(results, cell, price, target) for arm, cell in cells.items()}
    if not any(found.values()):
        return None
    rows = [_row(results, cells[arm], price, target, found[arm]) for arm in results["arms"] if found.get(arm)]
    times = {arm: {seed: time for seed, (_, time) in found[arm].items()} for arm in (row["arm"] for row in rows)}
    if found.get(results["reference"]):
        compared = against(results["reference"], cells, times)
        for row in rows:
            if row["arm"] in compared:
                row["ratio"] = asdict(compared[row["arm"]])
    rivals = _rivals(rows, cells, times)
    return {"at": dict(at), "price": price_name, "target": target, "rows": rows, "rivals": rivals}


def _rivals(rows: list[Json], cells: Mapping[str, Json], times: Mapping[str, Mapping[int, Crossing]]) -> list[str]:
    """The arms that are not shown to be slower than the one with the shortest median time."""
    whole = {arm: found for arm, found in times.items() if not cells[arm]["error"]}
    ahead = [row for row in rows if row["median"] is not None and row["arm"] in whole]
    if not ahead:
        return []
    first = min(ahead, key=lambda row: float(row["median"]))["arm"]
    return [arm for arm, pair in against(first, cells, whole).items() if pair.verdict != "slower"]


def _row(results: Json, cell: Json, price: Any, target: float, found: dict[int, tuple[Timed, Crossing]]) -> Json:
    metric = results["target"]["metric"]
    higher = higher_is_better(metric)
    summary = summarize_times([time for _, time in found.values()])
    ends = {seed: _end(timed, metric, target, higher) for seed, (timed, _) in found.items()}
    by_time = sorted(found, key=lambda seed: (not found[seed][1].reached, found[seed][1].high))
    middle = by_time[(len(found) - 1) // 2]
    parts, last = found[middle][0].parts, ends[middle]
    scores = [(timed.run["status"], timed.run["series"].get(metric, [])) for timed, _ in found.values()]
    finals = [None if status == "diverged" else final_score(values) for status, values in scores]
    bests = [best_score(values, higher) for _, values in scores]
    dollars, watts = None, None
    if price != "measured" and summary.median is not None:
        dollars, watts = spent(cell, price, summary.median)
    crossed = [(timed.run, ends[seed]) for seed, (timed, time) in found.items() if time.reached]
    examples = median_of_all([run["series"]["examples"][end] for run, end in crossed], len(found))
    per_epoch = examples_per_epoch(results, cell)
    return {
        "arm": cell["arm"],
        "reached": summary.reached,
        "of": summary.of,
        "median": summary.median,
        "restricted_mean": summary.restricted_mean,
        "times": [
            {"seed": seed, "seconds": time.high, "low": time.low, "reached": time.reached}
            for seed, (_, time) in found.items()
        ],
        "epochs_median": examples / per_epoch if examples is not None and per_epoch else None,
        "bytes_median": median_of_all([int(sent(cell, run)[end]) for run, end in crossed], len(found)),
        "final": _mean(finals),
        "best": _mean(bests),
        **{
            name: float(values[last]) if (values := getattr(parts, name)) is not None and len(values) else None
            for name in ("computing", "waiting", "moving")
        },
        "ratio": None,
        "dollars": dollars,
        "watt_hours": watts,
    }


def _end(timed: Timed, metric: str, target: float, higher: bool) -> int:
    """The evaluation at which the target was reached, or the last."""
    index = first_reached(timed.run["series"].get(metric, []), target, higher)
    return len(timed.parts.seconds) - 1 if index is None else index


def _mean(scores: list[float | None]) -> float | None:
    """The mean over all runs; None if one has no finite score, without which the arm would look better than it is."""
    finite = [score for score in scores if score is not None]
    return fmean(finite) if len(finite) == len(scores) > 0 else None
