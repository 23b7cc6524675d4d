"""A plausible results.json of a finished comparison, made without training, and a simple clock to price it with."""

import hashlib
import itertools
import math
import random
from typing import Any, NamedTuple

import numpy as np

ARMS = {"sync": "gradient-averaging", "average": "parameter-averaging", "weighted": "weighted-averaging"}
WORKERS = (1, 2, 4)
SPEEDS = ("equal", "uneven")
SEEDS = (0, 1, 2)
EPOCHS = 20
EXAMPLES = 10_000  # of an epoch
BATCH = 100
PARAMETERS = 52_650
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


def results(seeds: tuple[int, ...] = SEEDS, evaluations: int = EPOCHS) -> dict[str, Any]:
    """A comparison of three arms on 1, 2 and 4 workers of equal and unequal speeds, its findings included. One cell is
    broken, one not comparable; some runs miss the target, one diverged."""
    places = [(w, s) for w, s in itertools.product(WORKERS, SPEEDS) if (w, s) != (1, "uneven")]
    cells = [cell(arm, w, s, seeds, evaluations) for arm, (w, s) in itertools.product(ARMS, places)]
    return {
        "schema": 1,
        "psgd": "0.1.0",
        "question": "Which strategy reaches the target soonest, and does a slow network change it?",
        "config": {
            "question": "Which strategy ...",
            "arms": {arm: {"strategy.name": ARMS[arm]} for arm in ARMS},
            "tune": {"for_each": ["arm", "workers"]},
        },
        "base": {
            "data.source": "mnist",
            "model.hidden": [64],
            "model.activation": "relu",
            "optimizer.name": "sgd",
            "optimizer.learning_rate": 0.1,
            "strategy.name": "gradient-averaging",
            "training.batch_size_per_worker": BATCH,
            "workers": 1,
        },
        "machine": {
            "cpu": "AMD EPYC 9R14",
            "cores": 2,
            "platform": "Linux-6.1-x86_64",
            "python": "3.11.9",
            "packages": {"numpy": "2.1.3", "scipy": "1.14.1"},
            "blas": "openblas 0.3.27, SkylakeX",
        },
        "reference": "sync",
        "arms": list(ARMS),
        "axes": {"workers": [str(w) for w in WORKERS], "speeds": list(SPEEDS)},
        "seeds": list(seeds),
        "budget": {"epochs": float(EPOCHS), "evaluate_every": EPOCHS / evaluations},
        "target": {
            "metric": "validation_accuracy",
            "value": TARGET,
            "origin": "auto",
            "note": "the median over seeds of the best validation accuracy of sync with 1 worker",
        },
        "cells": cells,
        "prices": PRICES,
        "findings": findings(cells, places, seeds),
    }


def cell(arm: str, workers: int, speeds: str, seeds: tuple[int, ...], evaluations: int) -> dict[str, Any]:
    broken = (arm, workers, speeds) == ("average", 4, "uneven")
    comparable = (arm, workers, speeds) != ("weighted", 4, "uneven")
    rate = {1: 0.1, 2: 0.1, 4: 0.32}[workers]
    trials = [0.01, 0.032, 0.1, 0.32, 1.0]
    return {
        "arm": arm,
        "at": {"workers": str(workers), "speeds": speeds},
        "settings": {"strategy.name": ARMS[arm], "workers": workers, "optimizer.learning_rate": rate},
        "strategy": ARMS[arm],
        "workers": workers,
        "speeds": [1.0 if speeds == "equal" or i % 2 == 0 else 0.5 for i in range(workers)],
        "period": None if arm == "sync" else 50,
        "batch": BATCH,
        "examples_per_epoch": EXAMPLES,
        "learning_rate": rate,
        "tuned": {"optimizer.learning_rate": rate},
        "tuning": {
            "setting": "optimizer.learning_rate",
            "trials": [
                {
                    "value": v,
                    "scores": [None if v == 1.0 else 0.94 - 0.01 * len(arm) * math.log10(v / rate) ** 2],
                    "error": "diverged: the loss is not finite in round 12" if v == 1.0 else None,
                }
                for v in trials
            ],
            "extended": 0 if comparable else 2,
            "examples": 5 * EPOCHS * EXAMPLES,
        },
        "comparable": comparable,
        "why_not": "" if comparable else "the best learning rate, 1, is at the edge of its space after two extensions",
        "error": "cluster.speeds has 3 numbers for 4 workers; give one a worker" if broken else None,
        "parameters": PARAMETERS,
        "message_bytes": 4 * PARAMETERS,
        "costs": None if broken else {"step": 4.2e-4, "leaf": 2.1e-5, "apply": 1.5e-5, "rest": 2.2e-5},
        "runs": [] if broken else [run(arm, workers, speeds, seed, evaluations) for seed in seeds],
    }


def run(arm: str, workers: int, speeds: str, seed: int, evaluations: int) -> dict[str, Any]:
    name = f"{arm}-{workers}-{speeds}-{seed}"
    digest = hashlib.sha256(name.encode()).hexdigest()
    noise = random.Random(name)
    diverged = (arm, workers, speeds, seed) == ("average", 4, "equal", 2)
    slow = {"sync": 1.0, "average": 1.3, "weighted": 1.1}[arm] * (1 + 0.15 * math.log2(workers))
    ceiling = 0.955 - 0.007 * math.log2(workers) * (arm == "average")
    if (arm, workers, speeds) == ("average", 2, "uneven"):
        ceiling = 0.929  # most of its runs miss the target
    count = 4 if diverged else evaluations
    period = BATCH * workers * (1 if arm == "sync" else 50)
    examples = [-(-EXAMPLES * EPOCHS * (i + 1) // evaluations // period) * period for i in range(count)]
    accuracy = [ceiling - 0.35 * math.exp(-e / EXAMPLES / 2 / slow) + noise.gauss(0, 0.002) for e in examples]
    seconds = [e / BATCH * 4.5e-4 / min(2, workers) for e in examples]
    return {
        "seed": seed,
        "id": digest[:16],
        "status": "diverged" if diverged else "done",
        "error": "the loss is not finite in round 12" if diverged else None,
        "sha256": None if diverged else digest,
        "rounds": examples[-1] // period,
        "worker_steps": [examples[-1] // BATCH // workers] * workers,
        "series": {
            "examples": examples,
            "rounds": [e // period for e in examples],
            "validation_accuracy": accuracy,
            "validation_loss": [1.6 * (1 - a) + 0.1 for a in accuracy],
            "test_accuracy": [a - 0.004 for a in accuracy],
            "test_loss": [1.6 * (1 - a) + 0.12 for a in accuracy],
        },
        "measured": {
            "group": "threads",
            "processes": min(2, workers),
            "idle": True,
            "seconds": [seconds, [s * 1.01 for s in seconds]],
        },
    }


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
        tables.append({"at": at, "price": name, "target": TARGET, "rows": rows})
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
