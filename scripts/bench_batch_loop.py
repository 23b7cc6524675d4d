#!/usr/bin/env python
"""Compare ways to parallelise the loop over the batches, and their costs, in one table measured in one run.

    python scripts/bench_batch_loop.py [--json] [--quick] [--repetitions N]

The network is 1000-900-900-900-10, sigmoid, squared error, batches of 100, plain SGD, float32. The row "vectorised" is
psgd's own step with one worker. Seconds a batch are wall-clock time divided by the batches of all workers: two workers
compute two batches at the same time.
"""

import argparse
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

from benchmark import ROOT, about, arguments, have_mpirun, in_turns, mpirun, ratio, run, show, some_cores, table, train

SIZES, BATCH = (1000, 900, 900, 900, 10), 100
LOOP = "looping over the examples"
VECTORISED = "vectorised"


class Effort(NamedTuple):
    examples: int  # size of the training data
    epochs: int
    batches: int  # timed in a repetition of the loop over the examples
    period: int  # steps of a round of parameter and of weighted averaging


FULL, QUICK = Effort(6000, 5, 3, 50), Effort(200, 1, 1, 2)


def main() -> int:
    parser = arguments(__doc__)
    parser.add_argument("--loop", type=int, help=argparse.SUPPRESS)  # this script starts itself with it
    options = parser.parse_args()
    if options.loop:
        print(loop(options.loop))
        return 0
    repetitions = 1 if options.quick else options.repetitions
    machine = about(repetitions, options.quick)
    seconds = in_turns(ways(QUICK if options.quick else FULL), repetitions)
    rows = [row(name, seconds) for name in seconds]
    network = f"{'-'.join(map(str, SIZES))}, sigmoid, batches of {BATCH}, float32."
    show(machine, rows, options.json, f"{as_table(rows)}\n\n{network}")
    return 0


def ways(effort: Effort) -> dict[str, Callable[[], float]]:
    """For each row of the table, a function that measures the seconds an example."""
    config = [
        *(sys.executable, "-m", "psgd.train", str(ROOT / "configs" / "batch_loop.yaml")),
        *(f"data.examples={effort.examples}", f"training.epochs={effort.epochs}", "training.evaluate_every=1000"),
        *("model.loss=squared-error", "optimizer={name: sgd, learning_rate: 1.0}"),  # as in the loop over examples
    ]
    strategies = {"gradient-averaging": ["strategy.name=gradient-averaging"]}
    for name in ("parameter-averaging", "weighted-averaging"):
        strategies[f"{name}, period {effort.period}"] = [f"strategy.name={name}", f"strategy.period={effort.period}"]
    # With one worker every strategy is plain SGD. Long rounds cost least: a slower baseline would flatter the others.
    alone = [*config, "workers=1", "group=serial", *strategies[f"parameter-averaging, period {effort.period}"]]
    result = {LOOP: partial(looped, effort.batches), VECTORISED: partial(trained, alone, some_cores(1))}
    if have_mpirun():
        for name, settings in strategies.items():
            command = [*mpirun(2), *config, "workers=2", "group=mpi", *settings]
            result[f"2 processes, {name}"] = partial(trained, command, None)
    for name, settings in strategies.items():
        command = [*config, "workers=2", "group=threads", *settings]
        result[f"2 threads, {name}"] = partial(trained, command, some_cores(2))
    return result


def looped(batches: int) -> float:
    return float(run([sys.executable, str(Path(__file__).resolve()), "--loop", str(batches)], some_cores(1))) / BATCH


def trained(command: list[str], cores: set[int] | None) -> float:
    summary = train(command, cores)
    return summary["train_seconds"] / summary["examples"]


def loop(batches: int) -> float:
    """Measure the seconds a batch of a loop over the examples: forward and backward passes of one example at a time,
    whose gradients are summed. AssertionError if the gradient is not that of psgd's vectorised step."""
    import numpy as np

    from psgd.data.dataset import Dataset
    from psgd.learners.learner import Batch
    from psgd.learners.losses import LOSSES
    from psgd.learners.mlp import MLP

    def sigmoid(z: np.ndarray) -> np.ndarray:
        return 1 / (1 + np.exp(-z))

    random = np.random.default_rng(0)
    learner = MLP(SIZES, "sigmoid", "sigmoid", LOSSES["squared-error"], np.dtype(np.float32))
    parameters = learner.initial(0)
    weights = [(W.copy(), b.copy()) for W, b in learner.layout.views(parameters)]
    X = random.standard_normal((BATCH, SIZES[0]), dtype=np.float32)
    labels = random.integers(0, SIZES[-1], BATCH)
    Y = np.eye(SIZES[-1], dtype=np.float32)[labels]
    times = []
    for batch in range(batches + 1):  # the first one is checked, not timed
        began = time.perf_counter()
        totals = [(np.zeros_like(W), np.zeros_like(b)) for W, b in weights]
        for x, y in zip(X, Y, strict=True):
            activations = [x]
            for W, b in weights:
                activations.append(sigmoid(activations[-1] @ W + b))
            delta = activations[-1] - y
            for layer in reversed(range(len(weights))):
                delta = delta * activations[layer + 1] * (1 - activations[layer + 1])
                dW, db = totals[layer]
                dW += np.outer(activations[layer], delta)
                db += delta
                if layer:
                    delta = weights[layer][0] @ delta
        if batch == 0:
            looped = np.concatenate([part.ravel() for pair in totals for part in pair]) / BATCH
            vectorised = np.empty_like(parameters)
            read = Dataset(X, labels, SIZES[-1]).reader(BATCH, SIZES[-1], X.dtype)
            learner.gradient(parameters, Batch(*read(slice(0, BATCH)), 0.0), vectorised)
            assert np.linalg.norm(looped - vectorised) <= 1e-4 * np.linalg.norm(vectorised), "the gradients differ"
        weights = [(W - dW / BATCH, b - db / BATCH) for (W, b), (dW, db) in zip(weights, totals, strict=True)]
        times.append(time.perf_counter() - began)
    return median(times[1:])


def row(name: str, seconds: dict[str, list[float]]) -> dict[str, Any]:
    own = median(seconds[name])
    return {
        "way": name,
        "seconds_a_batch": own * BATCH,
        "examples_per_second": 1 / own,
        "times_the_loop": ratio(seconds[LOOP], seconds[name]),
        "times_vectorised": ratio(seconds[VECTORISED], seconds[name]),
        "all_seconds_a_batch": [round(s * BATCH, 6) for s in seconds[name]],
    }


def as_table(rows: list[dict[str, Any]]) -> str:
    lines = [
        [
            row["way"],
            f"{row['seconds_a_batch'] * 1e3:.2f}",
            f"{row['examples_per_second']:,.0f}",
            f"{row['times_the_loop']:.1f}",
            f"{row['times_vectorised']:.2f}",
        ]
        for row in rows
    ]
    return table(["way", "ms a batch", "examples/s", "times the loop", "times vectorised"], lines)


if __name__ == "__main__":
    sys.exit(main())
