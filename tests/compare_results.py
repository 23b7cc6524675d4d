"""A plausible results.json of a finished comparison, made without training."""

import hashlib
import itertools
import math
import random
from typing import Any

from compare_findings import PRICES, TARGET, findings

from psgd.compare.results_file import SCHEMA

ARMS = {"sync": "gradient-averaging", "average": "parameter-averaging", "weighted": "weighted-averaging"}
WORKERS = (1, 2, 4)
SPEEDS = ("equal", "uneven")
SEEDS = (0, 1, 2)
EPOCHS = 20
EXAMPLES = 10_000  # of an epoch
BATCH = 100
PARAMETERS = 52_650


def results(seeds: tuple[int, ...] = SEEDS, evaluations: int = EPOCHS) -> dict[str, Any]:
    """A comparison of three arms on 1, 2 and 4 workers of equal and unequal speeds, its findings included. One cell is
    broken, one not comparable; some runs miss the target, one diverged."""
    places = [(w, s) for w, s in itertools.product(WORKERS, SPEEDS) if (w, s) != (1, "uneven")]
    cells = [cell(arm, w, s, seeds, evaluations) for arm, (w, s) in itertools.product(ARMS, places)]
    return {
        "schema": SCHEMA,
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
