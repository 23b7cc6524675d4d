#!/usr/bin/env python
"""What one combination costs: the sum of a vector of each rank, by MPI_Allreduce and by psgd's fold in shared memory.

    python scripts/bench_combine.py [--json] [--quick] [--repetitions N]

The vectors are as long as the parameters of networks A, B and C, float32. A vector is written anew before each sum, as
a gradient is, and the ranks meet at a barrier before the clock starts; a sum takes as long as it takes the slowest
rank. psgd's time includes the barrier at its end. Both sums must agree. Repetitions are jobs, each of which gives the
median of many sums of either kind, taking turns. Ranks are bound to cores; more ranks than cores wait for each other's
turns, which says more about MPI's waiting than about the sum.
"""

import argparse
import json
import sys
import time
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from statistics import median
from typing import Any

from benchmark import about, arguments, have_mpirun, mpirun, ratio, run, show, table
from networks import NETWORKS

RANKS = (2, 4)
SUMS, QUICK_SUMS = 300, 30  # of either kind in a job
WARM_UP = 5  # sums that are not counted


def main() -> int:
    parser = arguments(__doc__)
    # What this script calls itself with, under mpirun.
    parser.add_argument("--parameters", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--sums", type=int, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.parameters:
        as_a_rank(options.parameters, options.sums)
        return 0
    if not have_mpirun():
        return 2
    repetitions = 1 if options.quick else options.repetitions
    machine, sums = about(repetitions, options.quick), QUICK_SUMS if options.quick else SUMS
    cases = [(ranks, name, parameters(name)) for ranks in RANKS for name in ("C", "B", "A")]
    jobs: dict[tuple[int, str, int], list[dict[str, float]]] = {case: [] for case in cases}
    for _ in range(repetitions):
        for (ranks, _, size), found in jobs.items():
            found.append(job(ranks, size, sums))
    rows = [row(*case, found) for case, found in jobs.items()]
    head = ["ranks", "network", "floats", "MPI_Allreduce, ms", "psgd, ms", "Allreduce / psgd"]
    show(machine, rows, options.json, table(head, [words(row) for row in rows]))
    return 0


def parameters(network: str) -> int:
    return sum((inputs + 1) * outputs for inputs, outputs in pairwise(NETWORKS[network].sizes))


def job(ranks: int, size: int, sums: int) -> dict[str, float]:
    """Milliseconds of a sum, by kind, from one job of its own."""
    mine = [sys.executable, str(Path(__file__).resolve()), "--parameters", str(size), "--sums", str(sums)]
    found: dict[str, float] = json.loads(run([*mpirun(ranks), *mine], seconds=120))
    return found


def as_a_rank(size: int, sums: int) -> None:
    """One rank's part of a job. The first prints the medians."""
    import numpy as np
    from mpi4py import MPI

    from psgd.group.group import Group, VectorShape
    from psgd.group.mpi import Mpi

    world = MPI.COMM_WORLD
    shape = VectorShape(world.size, size, state_rows=0, contribution_rows=1, dtype=np.dtype(np.float32))
    transport = Mpi(60.0, 4 * size * (world.size + 2))  # a contribution of each rank, and two replicas
    assert len(set(transport.hosts)) == 1, "the ranks share no memory"
    group, mine = Group(transport, shape), np.random.default_rng(world.rank).standard_normal(size, np.float32)
    private, shared, result = np.empty_like(mine), group.contribution(world.rank)[0], group.replicas[1][0]
    ones = np.ones(world.size)

    def apply(reduced: np.ndarray, where: slice, norm: float) -> None:
        result[where] = reduced[0]

    def allreduce() -> None:
        world.Allreduce(MPI.IN_PLACE, private, MPI.SUM)

    def combine() -> None:
        group.combine(ones, apply)

    def timed(vector: np.ndarray, add_up: Callable[[], None]) -> float:
        vector[:] = mine
        world.Barrier()
        began = time.perf_counter()
        add_up()
        return time.perf_counter() - began

    times = np.array([(timed(private, allreduce), timed(shared, combine)) for _ in range(WARM_UP + sums)])[WARM_UP:]
    # The sums of a few standard normal numbers differ by the order of the additions alone.
    assert np.allclose(private, result, rtol=0, atol=1e-5), "the sums differ"
    world.Allreduce(MPI.IN_PLACE, times, MPI.MAX)
    if world.rank == 0:
        milliseconds = 1e3 * np.median(times, axis=0)
        print(json.dumps({"allreduce": milliseconds[0], "psgd": milliseconds[1]}))
    transport.close()


def row(ranks: int, network: str, size: int, found: list[dict[str, float]]) -> dict[str, Any]:
    allreduce, psgd = [job["allreduce"] for job in found], [job["psgd"] for job in found]
    return {
        "ranks": ranks,
        "network": network,
        "floats": size,
        "allreduce_ms": median(allreduce),
        "psgd_ms": median(psgd),
        "allreduce_psgd": ratio(allreduce, psgd),
    }


def words(row: dict[str, Any]) -> list[str]:
    return [
        str(row["ranks"]),
        row["network"],
        f"{row['floats']:,}",
        f"{row['allreduce_ms']:.3f}",
        f"{row['psgd_ms']:.3f}",
        f"{row['allreduce_psgd']:.2f}",
    ]


if __name__ == "__main__":
    sys.exit(main())
