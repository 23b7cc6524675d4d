#!/usr/bin/env python
"""Measure what a synchronous round costs beside its step: microseconds of the parts of psgd's round, and JAX's round.

    python scripts/bench_round.py [--json] [--quick] [--repetitions N] [--networks CDE]

A round of gradient averaging is the gradient of one batch, an exchange of reports, and a combination. `step` is the
time a step of parameter averaging with a period of 50, plain SGD, gathering included, and so 1/50 of what a round costs
beside its steps. `beside` is round minus step. Rows: one worker in one process; one worker in a thread; two workers
under mpirun, each bound to a core, where two barriers of processes that do nothing else (`barrier`) are subtracted as
well. JAX is one compiled lax.scan over the steps, on batches that are already in memory, and the same under shard_map
with two devices, gradients averaged array by array or as one vector, whichever is faster.
"""

import json
import sys
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
from bench_step import STORED, stored
from bench_workers import JOB, LIMIT, RIVALS, cores
from benchmark import about, arguments, have, have_mpirun, in_turns, mpirun, run, show, some_cores, table
from networks import NETWORKS
from rivals import XLA_ONE_THREAD

STEPS = {"C": 8000, "D": 20_000, "E": 20_000}  # of each worker in one run, which takes a second or more
QUICK_STEPS = 2000
PERIOD = 50
GROUPS = {"serial": 1, "threads": 1, "mpi": 2}  # group: workers, one a process
PARTS = ("compute", "wait", "combine")  # local work, exchange of reports, combination
STEP_SCRIPT = str(Path(__file__).resolve().with_name("bench_step.py"))
BARRIERS = """
import time
from psgd.jobs.probe.concurrent import run_concurrently
def work(barrier):
    for _ in range(2000):
        barrier()
print(1e6 * min(run_concurrently(2, work, 0.2) for _ in range(5)) / 2000)
"""


def main() -> int:
    parser = arguments(__doc__)
    parser.add_argument("--networks", default="CDE", help="those to measure; CDE if not given")
    options = parser.parse_args()
    repetitions = 1 if options.quick else options.repetitions
    machine = about(repetitions, options.quick)
    backends = ["numpy", *(["numba"] if have("numba") else [])]
    groups = {g: n for g, n in GROUPS.items() if g != "mpi" or (have_mpirun() and len(cores()) > 1)}
    rows: list[dict[str, Any]] = []
    for network in options.networks:
        with tempfile.TemporaryDirectory() as directory:
            data = f"{directory}/data.npz"
            np.savez(data, x_train=stored(NETWORKS[network]).inputs, y_train=stored(NETWORKS[network]).targets)
            steps = QUICK_STEPS if options.quick else STEPS[network]
            rows += compared(network, backends, groups, data, steps, repetitions)
    show(machine, rows, options.json, as_table(rows))
    return 0


def compared(
    network: str, backends: list[str], groups: dict[str, int], data: str, steps: int, repetitions: int
) -> list[dict[str, Any]]:
    """Measure a network: a row of medians for each backend and group, and for JAX if installed."""
    parts: dict[str, list[dict[str, float]]] = {}

    def seconds(name: str, *how: Any) -> float:
        summary = train(network, data, steps, *how)
        taken = {part: summary[f"{part}_seconds"] / max(summary["worker_steps"]) for part in PARTS}
        parts.setdefault(name, []).append(taken)
        return summary["train_seconds"] / max(summary["worker_steps"])

    turns: dict[str, Callable[[], float]] = {}
    for backend in backends:
        for group, workers in groups.items():
            for strategy in ("gradient-averaging", "parameter-averaging"):
                name = f"{backend} {group} {strategy}"
                turns[name] = partial(seconds, name, backend, group, workers, strategy)
    turns["barrier"] = lambda: 1e-6 * float(run([sys.executable, "-c", BARRIERS]))
    if have("jax"):
        turns["JAX scan"] = partial(jax_scan, network)
        for way in RIVALS["JAX"] if "mpi" in groups else ():
            turns[way] = partial(jax_sharded, way, network)
    found = {name: 1e6 * median(times) for name, times in in_turns(turns, repetitions).items()}
    rows = []
    for backend in backends:
        for group in groups:
            name = f"{backend} {group} gradient-averaging"
            row: dict[str, Any] = {"network": network, "backend": backend, "group": group, "round": found[name]}
            row |= {part: 1e6 * median(taken[part] for taken in parts[name]) for part in PARTS}
            row["step"] = found[f"{backend} {group} parameter-averaging"]
            row["barrier"] = 2 * found["barrier"] if group == "mpi" else 0.0
            row["beside"] = row["round"] - row["step"] - row["barrier"]
            rows.append(row)
    if "JAX scan" in found:
        rows.append({"network": network, "backend": "JAX", "group": "scan", "round": found["JAX scan"]})
    if "JAX" in found:
        sharded = min(found[way] for way in RIVALS["JAX"])
        rows.append({"network": network, "backend": "JAX", "group": "shard_map, 2", "round": sharded})
    return rows


def train(network: str, data: str, steps: int, backend: str, group: str, workers: int, strategy: str) -> dict[str, Any]:
    """Run psgd and return its summary."""
    net = NETWORKS[network]
    with tempfile.TemporaryDirectory() as directory:
        command = [
            *(mpirun(workers) if group == "mpi" else []),
            *(sys.executable, "-m", "psgd.train", "--quiet", "--output", directory),
            *("data.source=npz", f"data.path={data}"),
            *(f"model.hidden={list(net.sizes[1:-1])}", f"model.activation={net.activation}"),
            *(f"model.output={net.output}", f"model.loss={net.loss}"),
            *("optimizer.name=sgd", f"optimizer.learning_rate={net.learning_rate}"),
            *(f"training.batch_size_per_worker={net.batch}", "training.evaluate_every=1000000000"),
            f"training.epochs={steps * net.batch * workers / STORED[net.sizes[0]]}",
            *(f"compile={'always' if backend == 'numba' else 'never'}", f"strategy.name={strategy}"),
            *(f"workers={workers}", f"group={group}", *(["cluster.processes=1"] if group == "threads" else [])),
            *([f"strategy.period={PERIOD}"] if strategy == "parameter-averaging" else []),
        ]
        printed = run(command, None if group == "mpi" else some_cores(1), LIMIT)
    summary: dict[str, Any] = json.loads(printed)
    return summary


def jax_scan(network: str) -> float:
    command = [sys.executable, STEP_SCRIPT, "--measure", "JAX", network, "1.0"]
    printed = run(command, some_cores(1), LIMIT, XLA_FLAGS=XLA_ONE_THREAD, JAX_PLATFORMS="cpu")
    return 1e-6 * float(json.loads(printed)["microseconds"])


def jax_sharded(way: str, network: str) -> float:
    """Seconds of a step that two workers take together."""
    rate = json.loads(run([*JOB, way, network, "1.0"], set.union(*cores()), LIMIT))["rate"]
    return 2 * NETWORKS[network].batch / float(rate)


def as_table(rows: list[dict[str, Any]]) -> str:
    columns = ["round", *PARTS, "step", "barrier", "beside"]
    lines = [
        [f"{row['network']}, {row['backend']}, {row['group']}", *(f"{row[c]:.1f}" if c in row else "" for c in columns)]
        for row in rows
    ]
    return table(["microseconds", *columns], lines)


if __name__ == "__main__":
    sys.exit(main())
