#!/usr/bin/env python
"""Measure what a second worker gains: examples per second of two workers on two cores, by psgd, PyTorch and JAX.

    python scripts/bench_workers.py [--json] [--quick] [--repetitions N] [--networks ABC]

psgd runs with two MPI processes. The upper bound for two cores is measured by two independent psgd processes that train
at the same time. Both are repeated with numba if that is installed. PyTorch is DDP with gloo on two processes; JAX is
one process with two devices, a compiled lax.scan under shard_map, which averages the gradients array by array or, in
`JAX flat`, as one vector: psgd is compared with the faster of the two. Both average gradients in each step, as psgd's
gradient-averaging does; after the first pass over the batches, loss and distance from the start must be those of psgd's
own step on the batches of both workers together. Only training is timed. psgd samples and gathers its batches in that
time, from bytes where the inputs are images; the rivals' batches are already in memory.
"""

import json
import os
import sys
import tempfile
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
from bench_step import STORED, stored
from benchmark import about, arguments, have, have_mpirun, in_turns, mpirun, ratio, run, show, table, together
from networks import NETWORKS
from rivals import INSTALL
from workers_job import WORKERS

JOB = [sys.executable, str(Path(__file__).resolve().with_name("workers_job.py"))]
STRATEGIES = {
    "gradient-averaging": ["strategy.name=gradient-averaging"],
    "parameter-averaging, period 50": ["strategy.name=parameter-averaging", "strategy.period=50"],
}
SYNCHRONOUS = "gradient-averaging"  # the strategy of the rivals
COMPILED = ", numba"  # end of the name of a strategy that runs on numba's backend
RIVALS = {"DDP": ["DDP"], "JAX": ["JAX", "JAX flat"]}  # rival: its variants
MODULES = {"DDP": "torch", "JAX": "jax"}
LIMIT = 300.0  # seconds that a process may take
PACES = {"A": 10_000, "B": 95_000, "C": 1_000_000}  # examples that a worker trains on in a second, about


def main() -> int:
    parser = arguments(__doc__)
    parser.add_argument("--networks", default="ABC", help="those to measure; ABC if not given")
    options = parser.parse_args()
    if len(os.sched_getaffinity(0)) < WORKERS:
        sys.exit(f"this benchmark needs {WORKERS} cores")
    if not have_mpirun():
        return 2
    found = [rival for rival in RIVALS if have(MODULES[rival])]
    for rival in RIVALS.keys() - found:
        print(f"no {rival} in this environment: left out ({INSTALL[MODULES[rival]]})", file=sys.stderr)
    repetitions, seconds = (1, 0.5) if options.quick else (options.repetitions, 3.0)
    machine = about(repetitions, options.quick)
    rows = [row for network in options.networks for row in compared(network, found, repetitions, seconds)]
    show(machine, rows, options.json, as_table(rows))
    return 0


def compared(network: str, found: Sequence[str], repetitions: int, seconds: float) -> list[dict[str, Any]]:
    """Measure a row for each strategy: medians of examples per second, and of the ratios within repetitions."""
    expected = json.loads(run([*JOB, "reference", network], seconds=LIMIT))
    with tempfile.TemporaryDirectory() as directory:
        data = stored(NETWORKS[network])
        np.savez(f"{directory}/data.npz", x_train=data.inputs, y_train=data.targets)
        return measured_in_turns(network, found, repetitions, seconds, expected, f"{directory}/data.npz")


def measured_in_turns(
    network: str, found: Sequence[str], repetitions: int, seconds: float, expected: dict[str, float], data: str
) -> list[dict[str, Any]]:
    turns: dict[str, Callable[[], float]] = {}
    ways = [f"{strategy}{how}" for strategy in STRATEGIES for how in ("", *[COMPILED] * have("numba"))]
    for strategy in ways:
        turns[strategy] = partial(with_mpi, network, strategy, seconds, data)
        turns[f"{strategy} alone"] = partial(independently, network, strategy, seconds, data)
    for way in [way for rival in found for way in RIVALS[rival]]:
        turns[way] = partial(rival_rate, way, network, seconds, expected)
    rates = in_turns(turns, repetitions)
    rows = []
    for strategy in ways:
        ours, apart = rates[strategy], rates[f"{strategy} alone"]
        row: dict[str, Any] = {"network": network, "strategy": strategy, "psgd": median(ours)}
        row |= {"two alone": median(apart), "psgd / two alone": ratio(ours, apart)}
        for rival in found if strategy.removesuffix(COMPILED) == SYNCHRONOUS else ():
            row |= {way: median(rates[way]) for way in RIVALS[rival]}
            row[f"psgd / {rival}"] = ratio(ours, np.max([rates[way] for way in RIVALS[rival]], axis=0).tolist())
        rows.append(row)
    return rows


def with_mpi(network: str, strategy: str, seconds: float, data: str) -> float:
    """Examples per second of psgd with two MPI processes."""
    with tempfile.TemporaryDirectory() as directory:
        command = [*mpirun(WORKERS), *training(network, strategy, seconds, data, WORKERS, directory)]
        return rate(run(command, seconds=LIMIT))


def independently(network: str, strategy: str, seconds: float, data: str) -> float:
    """The sum of the examples per second of two independent processes."""
    with tempfile.TemporaryDirectory() as directory:
        commands = [training(network, strategy, seconds, data, 1, f"{directory}/{i}") for i in range(WORKERS)]
        return sum(map(rate, together(commands, cores(), LIMIT)))


def training(network: str, strategy: str, seconds: float, data: str, workers: int, directory: str) -> list[str]:
    """psgd's command line; it evaluates only at the end, which is not timed."""
    net = NETWORKS[network]
    epochs = max(1, round(seconds * PACES[network] * workers / STORED[net.sizes[0]]))
    return [
        *(sys.executable, "-m", "psgd.train", "--quiet", "--output", directory),
        *("data.source=npz", f"data.path={data}"),
        *(f"model.hidden={list(net.sizes[1:-1])}", f"model.activation={net.activation}"),
        *(f"model.output={net.output}", f"model.loss={net.loss}"),
        *(f"optimizer.name={net.optimizer}", f"optimizer.learning_rate={net.learning_rate}"),
        *(f"training.batch_size_per_worker={net.batch}", "training.evaluate_every=1000000000"),
        *(f"training.epochs={epochs}", f"compile={'always' if strategy.endswith(COMPILED) else 'never'}"),
        *(f"workers={workers}", "group=serial" if workers == 1 else "group=mpi"),
        *STRATEGIES[strategy.removesuffix(COMPILED)],
    ]


def rate(summary: str) -> float:
    return json.loads(summary)["examples"] / json.loads(summary)["train_seconds"]


def rival_rate(way: str, network: str, seconds: float, expected: dict[str, float]) -> float:
    """Examples per second of both workers of a rival. AssertionError if its results are not those expected."""
    command = [*JOB, way, network, str(seconds)]
    if way == "DDP":
        with tempfile.TemporaryDirectory() as directory:
            commands = [[*command, str(rank), f"{directory}/meet"] for rank in range(WORKERS)]
            found = json.loads(together(commands, cores(), LIMIT)[0])
    else:
        found = json.loads(run(command, set.union(*cores()), LIMIT))
    for what, near in (("loss", 1e-3), ("moved", 1e-2)):  # Adam amplifies small differences
        agree = abs(found[what] - expected[what]) <= near * expected[what]
        assert agree, f"network {network}: {what} is {found[what]} with {way}, {expected[what]} with psgd"
    return float(found["rate"])


def cores() -> list[set[int]]:
    """One core for each worker."""
    return [{core} for core in sorted(os.sched_getaffinity(0))[:WORKERS]]


def as_table(rows: list[dict[str, Any]]) -> str:
    """Columns of examples per second, then of ratios. The first row is a synchronous one, which has all of them."""
    columns = sorted(list(rows[0])[2:], key=lambda column: "/" in column)

    def cell(row: dict[str, Any], column: str) -> str:
        return f"{row[column]:,.{2 if '/' in column else 0}f}" if column in row else ""

    lines = [[f"{row['network']}, {row['strategy']}", *(cell(row, column) for column in columns)] for row in rows]
    return table(["examples/s", *columns], lines)


if __name__ == "__main__":
    sys.exit(main())
