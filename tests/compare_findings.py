"""Findings of compare_results.py in outline, and a simple clock to price its runs with."""

import itertools
import math
from typing import Any, NamedTuple

import numpy as np

TARGET = 0.93
PRICES: dict[str, Any] = {
    "here": "measured",
    "slow": {
        "hosts": 4,
        "workers_per_host": None,
        "network": "100Mbit,1ms",
        "machine_speed": 1.0,
        "dollars_per_host_hour": 0.5,
        "watts_per_host": 120.0,
    },
    "fast": {
        "hosts": 4,
        "workers_per_host": None,
        "network": "10Gbit,50us",
        "machine_speed": 1.0,
        "dollars_per_host_hour": None,
        "watts_per_host": None,
    },
}


class Parts(NamedTuple):
    """Seconds at every evaluation of a run, and what they consist of."""

    seconds: Any
    computing: Any
    waiting: Any
    moving: Any


def network(text: str) -> tuple[float, float]:
    """Bits a second and seconds of "100Mbit,1ms"."""
    bandwidth, latency = text.split(",")
    bits = next(
        float(bandwidth.removesuffix(u)) * f for u, f in (("Gbit", 1e9), ("Mbit", 1e6)) if bandwidth.endswith(u)
    )
    units = (("us", 1e-6), ("ms", 1e-3), ("s", 1.0))
    return bits, next(float(latency.removesuffix(u)) * f for u, f in units if latency.endswith(u))


def times(cell: dict[str, Any], run: dict[str, Any], price: Any) -> Parts | None:
    """Price a run: affine in the latency and in the reciprocal of the bandwidth."""
    if price == "measured" and not run["measured"]:
        return None
    if price == "measured":
        seconds = np.median(run["measured"]["seconds"], axis=0)
        return Parts(seconds, seconds, 0 * seconds, 0 * seconds)
    if cell["costs"] is None:
        return None
    rounds, examples = np.array(run["series"]["rounds"]), np.array(run["series"]["examples"])
    steps = examples / cell["batch"] / cell["workers"]
    computing = steps * cell["costs"]["step"] / price["machine_speed"]
    waiting = computing * (1 / min(cell["speeds"]) - 1) * (0 if cell["arm"] == "weighted" else 1)
    moving = 0.0 * rounds
    if cell["workers"] > 1 and price["hosts"] > 1 and price["network"]:
        bits, latency = network(price["network"])
        moving = rounds * (2 * latency + 16 * cell["message_bytes"] / bits)
    return Parts(computing + waiting + moving, computing, waiting, moving)


def crossing(run: dict[str, Any], seconds: Any) -> dict[str, Any]:
    scores = run["series"]["validation_accuracy"]
    at = next((i for i, score in enumerate(scores) if score >= TARGET), None)
    reached = at is not None
    high = float(seconds[at if at is not None else -1])
    low = float(seconds[at - 1]) if at else (0.0 if reached else high)
    return {"seed": run["seed"], "seconds": high, "low": low, "reached": reached}


def findings(cells: list[dict[str, Any]], places: list[tuple[int, str]], seeds: tuple[int, ...]) -> dict[str, Any]:
    """What psgd.compare.analysis.tables computes, in outline: the shape is right, the statistics are rough."""
    tables = []
    for (workers, speeds), (name, price) in itertools.product(places, PRICES.items()):
        at = {"workers": str(workers), "speeds": speeds}
        rows: list[dict[str, Any]] = [row(c, name, price) for c in cells if c["at"] == at and not c["error"]]
        for each in rows[1:]:
            each["ratio"] = ratio(each, rows[0], len(seeds))
        tables.append({"at": at, "price": name, "target": TARGET, "rows": rows, "rivals": []})
    at = {"workers": "4", "speeds": "equal"}
    grid = 9
    return {
        "tables": tables,
        "targets": [0.91, 0.92, 0.93, 0.94],
        "flips": [
            {
                "at": at,
                "price": "slow",
                "arm": "average",
                "verdicts": {"0.91": "faster", "0.92": "faster", "0.93": "faster", "0.94": "undecided"},
            }
        ],
        "identities": [
            {
                "name": "weighted averaging with equal speeds is parameter averaging",
                "cells": ["weighted, workers 4, speeds equal", "average, workers 4, speeds equal"],
                "holds": True,
                "detail": "the parameters of all 3 seeds are equal bit for bit",
            },
            {
                "name": "period 1 with plain SGD ties gradient averaging",
                "cells": [],
                "holds": False,
                "detail": "the largest difference of accuracies is 0.02",
            },
        ],
        "break_even": ["With 4 workers of equal speeds, sync beats average above 340 Mbit/s at a latency of 1 ms."],
        "best_period": ["On slow, the best of the periods 1, 10 and 50 is 50; yours costs 1.00 times as much."],
        "diagram": {
            "at": at,
            "latencies": [1e-6 * 10 ** (5 * i / (grid - 1)) for i in range(grid)],
            "bandwidths": [1e6 * 10 ** (5 * j / (grid - 1)) for j in range(grid)],
            "first": [[0 if j - i > 1 else (2 if j > 4 else 1) for j in range(grid)] for i in range(grid)],
            "won": [[j - i not in (1, 2) for j in range(grid)] for i in range(grid)],
        },
        "answer": [
            "On the slow network (100 Mbit/s, 1 ms) with 4 equal workers, average reaches 0.93 first: in 7.6 s against "
            "89 s of sync (ratio 0.085, an indication from 3 seeds).",
            "Measured on this machine, sync and weighted cannot be told apart.",
        ],
    }


def row(cell: dict[str, Any], name: str, price: Any) -> dict[str, Any]:
    priced = [times(cell, run, price) for run in cell["runs"]]
    found = [crossing(run, parts.seconds) for run, parts in zip(cell["runs"], priced, strict=True)]
    reached = [each for each in found if each["reached"]]
    ordered = sorted(each["seconds"] if each["reached"] else math.inf for each in found)
    median = ordered[len(ordered) // 2]
    last = [run["series"]["validation_accuracy"] for run in cell["runs"]]
    at = next(iter(np.flatnonzero(np.array(last[0]) >= TARGET)), -1)
    middle = priced[0]
    modelled = price != "measured"
    hours = found[0]["seconds"] / 3600
    return {
        "arm": cell["arm"],
        "reached": len(reached),
        "of": len(found),
        "median": median if math.isfinite(median) else None,
        "restricted_mean": float(np.mean([each["seconds"] for each in found])),
        "times": found,
        "epochs_median": 7.0 if math.isfinite(median) else None,
        "bytes_median": 700 * cell["message_bytes"] * (cell["workers"] > 1) if math.isfinite(median) else None,
        "final": float(np.mean([series[-1] for series in last])),
        "best": float(np.mean([max(series) for series in last])),
        "computing": float(middle.computing[at]) if modelled else None,
        "waiting": float(middle.waiting[at]) if modelled else None,
        "moving": float(middle.moving[at]) if modelled else None,
        "ratio": None,
        "dollars": hours * 4 * price["dollars_per_host_hour"] if modelled and price["dollars_per_host_hour"] else None,
        "watt_hours": hours * 4 * price["watts_per_host"] if modelled and price["watts_per_host"] else None,
    }


def ratio(row: dict[str, Any], reference: dict[str, Any], seeds: int) -> dict[str, Any]:
    pairs = [(a, b) for a, b in zip(row["times"], reference["times"], strict=True) if a["reached"] or b["reached"]]
    logs = [math.log(a["seconds"] / b["seconds"]) for a, b in pairs]
    mean, spread = float(np.mean(logs)), float(np.std(logs)) + 0.02
    low, high = math.exp(mean - 2 * spread), math.exp(mean + 2 * spread)
    censored = sum(a["reached"] != b["reached"] for a, b in pairs)
    sure = "faster" if high < 0.95 else "slower" if low > 1 / 0.95 else "undecided"
    return {
        "ratio": math.exp(mean),
        "low": low,
        "high": high,
        "n": len(pairs),
        "pairs_censored": censored,
        "bound": "at least" if censored else None,
        "verdict": "equivalent" if low > 0.95 and high < 1 / 0.95 else sure,
        "strength": "indication" if seeds < 6 else "verdict",
        "p": 0.013,
        "p_holm": 0.026,
    }
