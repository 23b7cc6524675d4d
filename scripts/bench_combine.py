#!/usr/bin/env python
"""Compare one combination, the sum of one vector a rank, by MPI_Allreduce and by psgd's reduction in shared memory.

    python scripts/bench_combine.py [--json] [--quick] [--repetitions N]

The vectors have as many elements as networks A, B and C have parameters, float32. Before each sum, a rank writes its
vector anew, as it would a gradient, and waits for the others at a barrier; then the clock starts. The time is that of
the slowest rank. psgd's includes the barrier at its end. Both sums must agree. Each repetition is a job, which measures
the medians of many sums of both kinds, alternately. Ranks are bound to cores. With more ranks than cores, the time
shows how MPI waits more than how it sums.
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
SUMS, QUICK_SUMS = 300, 10  # of each kind in a job
WARM_UP = 5  # sums before the timed ones


def main() -> int:
    parser = arguments(__doc__)
    # This script starts itself with them, under mpirun.
    parser.add_argument("--parameters", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--sums", type=int, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.parameters:
        run_rank(options.parameters, options.sums)
        return 0
    if not have_mpirun():
        return 2
    repetitions = 1 if options.quick else options.repetitions
    machine, sums = about(repetitions, options.quick), QUICK_SUMS if options.quick else SUMS
    names = "CA" if options.quick else "CBA"
    cases = [(ranks, name, parameters(name)) for ranks in RANKS for name in names]
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
    """Start a job and return the milliseconds of a sum, by kind."""
    command = [sys.executable, str(Path(__file__).resolve()), "--parameters", str(size), "--sums", str(sums)]
    found: dict[str, float] = json.loads(run([*mpirun(ranks), *command], seconds=120))
    return found


def run_rank(size: int, sums: int) -> None:
    """Run one rank's part of a job. The first rank prints the medians."""
    import numpy as np
    from mpi4py import MPI

    from psgd.group.group import Group
    from psgd.group.mpi.open_transport import open_transport
    from psgd.group.mpi.world import World
    from psgd.group.vector_shape import VectorShape

    world = MPI.COMM_WORLD
    shape = VectorShape(world.size, size, state_rows=0, contribution_rows=1, dtype=np.dtype(np.float32))
    transport = open_transport(World(), 60.0)
    assert len(set(transport.hosts)) == 1, "the ranks share no memory"
    group, vector = Group(transport, shape), np.random.default_rng(world.rank).standard_normal(size, np.float32)
    own, shared, result = np.empty_like(vector), group.contribution(world.rank)[0], group.replicas[1][0]
    ones = np.ones(world.size)

    def apply(reduced: np.ndarray, where: slice) -> None:
        result[where] = reduced[0]

    def allreduce() -> None:
        world.Allreduce(MPI.IN_PLACE, own, MPI.SUM)

    def combine() -> None:
        group.combine(ones, lambda squared_norm: apply)

    def timed(target: np.ndarray, add_up: Callable[[], None]) -> float:
        target[:] = vector
        world.Barrier()
        began = time.perf_counter()
        add_up()
        return time.perf_counter() - began

    times = np.array([(timed(own, allreduce), timed(shared, combine)) for _ in range(WARM_UP + sums)])[WARM_UP:]
    # The sums of standard normal numbers may differ only by rounding: the order of additions is not the same.
    assert np.allclose(own, result, rtol=0, atol=1e-5), "the sums differ"
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
