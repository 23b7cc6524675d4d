#!/usr/bin/env python
"""How to parallelise the loop over the batches, and what each way of doing it costs: one table, measured in one run.

    python scripts/bench_batch_loop.py [--json] [--quick]

The network whose author asked: 1000-900-900-900-10, sigmoid, squared error, batches of 100, plain SGD, float32
throughout, one BLAS thread a worker. Rows are medians of repetitions that take turns. The vectorised row is psgd's own
step with one worker. Seconds a batch are of wall-clock time: with two workers, two batches are worked on at a time.
"""

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[1]
SIZES, BATCH = (1000, 900, 900, 900, 10), 100
LOOP = "looping over the examples"
VECTORISED = "vectorised"
STRATEGIES = {
    "gradient-averaging": ["strategy.name=gradient-averaging"],
    "parameter-averaging, period 50": ["strategy.name=parameter-averaging", "strategy.period=50"],
    "weighted-averaging, period 50": ["strategy.name=weighted-averaging", "strategy.period=50"],
}


class Effort(NamedTuple):
    repetitions: int
    examples: int  # of the training data
    epochs: int
    batches: int  # looped over in a repetition


FULL, QUICK = Effort(5, 6000, 5, 3), Effort(1, 500, 1, 1)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true", help="print the figures as JSON")
    parser.add_argument(
        "--quick", action="store_true", help="one repetition of few batches: a trial, not a measurement"
    )
    parser.add_argument("--repetitions", type=int, help="instead of 5")
    parser.add_argument(
        "--loop", type=int, metavar="BATCHES", help=argparse.SUPPRESS
    )  # what this script calls itself with
    options = parser.parse_args()
    if options.loop:
        print(loop(options.loop))
        return 0
    effort = QUICK if options.quick else FULL
    if options.repetitions:
        effort = effort._replace(repetitions=options.repetitions)
    environment = as_users_have_it()
    load = os.getloadavg()[0]
    rows: dict[str, list[float]] = {}
    kernel = ""
    for _ in range(effort.repetitions):
        for name, command in commands(effort).items():
            if name == LOOP:
                seconds = float(run(command, environment)) / BATCH
            else:
                summary = train(command, environment)
                seconds = summary["train_seconds"] / summary["examples"]
                kernel = summary["blas"]
            rows.setdefault(name, []).append(seconds)
    figures = [figure(name, rows) for name in rows]
    about = {
        "machine": f"{cpu()}, {len(os.sched_getaffinity(0))} cores",
        "blas": kernel,
        "python": platform.python_version(),
        "commit": commit(),
        "load_before": round(load, 2),
        "load_after": round(os.getloadavg()[0], 2),
        "repetitions": effort.repetitions,
        "quick": options.quick,
    }
    print(json.dumps({**about, "rows": figures}, indent=2) if options.json else table(about, figures))
    return 0


def commands(effort: Effort) -> dict[str, list[str]]:
    """By row, in the order of the table. Processes come from this environment's own mpirun, if it has one."""
    python, here = sys.executable, Path(sys.executable).parent
    config = [
        *("-m", "psgd.train", str(ROOT / "configs" / "batch_loop.yaml"), "--quiet"),
        *(f"data.examples={effort.examples}", f"training.epochs={effort.epochs}", "training.evaluate_every=1000"),
    ]
    result = {
        LOOP: [python, str(Path(__file__).resolve()), "--loop", str(effort.batches)],
        # With one worker every strategy is plain SGD; long rounds cost least, so the others' gain is not flattered.
        VECTORISED: [python, *config, "workers=1", "group=serial", *STRATEGIES["parameter-averaging, period 50"]],
    }
    for name, settings in STRATEGIES.items():
        if (here / "mpirun").exists():
            mpirun = [str(here / "mpirun"), "-n", "2"]
            result[f"2 processes, {name}"] = [*mpirun, python, *config, "workers=2", "group=mpi", *settings]
    for name, settings in STRATEGIES.items():
        result[f"2 threads, {name}"] = [python, *config, "workers=2", "group=threads", *settings]
    if not (here / "mpirun").exists():
        print("no mpirun in this environment: its rows are left out (pip install mpi4py mpich)", file=sys.stderr)
    return result


def as_users_have_it() -> dict[str, str]:
    """One BLAS thread, and the kernel that the BLAS itself chooses: some machines export another."""
    environment = {k: v for k, v in os.environ.items() if k not in ("OPENBLAS_CORETYPE", "OPENBLAS_L2_SIZE")}
    environment["PYTHONPATH"] = os.pathsep.join(filter(None, [str(ROOT), environment.get("PYTHONPATH")]))
    return environment | {f"{name}_NUM_THREADS": "1" for name in ("OPENBLAS", "OMP", "MKL", "BLIS")}


def run(command: list[str], environment: dict[str, str]) -> str:
    finished = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=600)
    if finished.returncode:
        sys.exit(f"{' '.join(command)} ended with {finished.returncode}:\n{finished.stderr}")
    return finished.stdout


def train(command: list[str], environment: dict[str, str]) -> dict:
    with tempfile.TemporaryDirectory() as directory:
        run([*command, "--output", directory], environment)
        return json.loads((Path(directory) / "summary.json").read_text())


def loop(batches: int) -> float:
    """Seconds a batch, as the naive author has it: example after example forth and back, gradients added up. It must
    give the gradient that psgd's vectorised step gives."""
    import numpy as np

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
    Y = np.eye(SIZES[-1], dtype=np.float32)[random.integers(0, SIZES[-1], BATCH)]
    times = []
    for batch in range(batches + 1):  # the first warms up, and is compared
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
            learner.gradient(parameters, Batch(X, Y, 0.0), vectorised)
            assert np.linalg.norm(looped - vectorised) <= 1e-4 * np.linalg.norm(vectorised), "the gradients differ"
        weights = [(W - dW / BATCH, b - db / BATCH) for (W, b), (dW, db) in zip(weights, totals, strict=True)]
        times.append(time.perf_counter() - began)
    return median(times[1:])


def figure(name: str, rows: dict[str, list[float]]) -> dict:
    """Ratios are medians of the ratios within a repetition: what disturbs the machine disturbs both."""
    seconds = median(rows[name])
    ratios = {
        other: median(a / b for a, b in zip(rows[other], rows[name], strict=True)) for other in (LOOP, VECTORISED)
    }
    return {
        "way": name,
        "seconds_a_batch": seconds * BATCH,
        "examples_per_second": 1 / seconds,
        "times_the_loop": ratios[LOOP],
        "times_vectorised": ratios[VECTORISED],
        "all_seconds_a_batch": [round(s * BATCH, 6) for s in rows[name]],
    }


def table(about: dict, figures: list[dict]) -> str:
    lines = ["| way | ms a batch | examples/s | times the loop | times vectorised |", "|---|---:|---:|---:|---:|"]
    for f in figures:
        lines.append(
            f"| {f['way']} | {f['seconds_a_batch'] * 1e3:.2f} | {f['examples_per_second']:,.0f} "
            f"| {f['times_the_loop']:.1f} | {f['times_vectorised']:.2f} |"
        )
    how = "a trial, not a measurement" if about["quick"] else f"medians of {about['repetitions']}"
    lines += [
        "",
        f"{'-'.join(map(str, SIZES))}, sigmoid, batches of {BATCH}, float32, one BLAS thread a worker; {how}. "
        f"{about['machine']}; {about['blas']}; Python {about['python']}; psgd {about['commit']}; "
        f"load {about['load_before']} before, {about['load_after']} after.",
    ]
    return "\n".join(lines)


def cpu() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        return next(line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()


def commit() -> str:
    found = subprocess.run(["git", "rev-parse", "--short", "HEAD"], cwd=ROOT, capture_output=True, text=True)
    return found.stdout.strip() or "unknown"


if __name__ == "__main__":
    sys.exit(main())
