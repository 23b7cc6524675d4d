"""What every group must do under each transport, written as formulas in the worker and the round.

`python tests/contract.py` checks MPI, with as many processes as mpirun gives it.
"""

import sys
from collections.abc import Callable
from typing import Any

import numpy as np
from jobs import NAMES, SPEEDS, job, strategies, train

from psgd.core.blocks import BLOCK_ELEMENTS
from psgd.group.group import Group
from psgd.group.reports import Notice, Report
from psgd.group.transport import Transport
from psgd.group.vector_shape import VectorShape


def check_group(transport: Transport, workers: int) -> None:
    """All-gathers, exchanges of reports and combinations. Contributions all differ; every sum is exact in float32."""
    parameters = 2 * BLOCK_ELEMENTS + 5
    shape = VectorShape(workers, parameters, 1, 2, np.dtype(np.float32))
    group = Group(transport, shape)
    hosted = [int.from_bytes(row, "little") for row in group.all_gather(len(group.hosted).to_bytes(8, "little"))]
    assert sum(hosted) == workers
    for size in (0, 1, 4096, 4097, 100_000):  # rows of any length
        rows = group.all_gather(f"{transport.process:7}".encode() * (size // 7) + b"x" * (size % 7))
        assert rows == [f"{member:7}".encode() * (size // 7) + b"x" * (size % 7) for member in transport.members]
    members, hosts = transport.members, transport.hosts
    share = parameters / list(hosts).count(hosts[members.index(transport.process)])
    ramp = np.arange(parameters, dtype=np.float32)
    for number in range(3):
        for worker in group.hosted:
            group.contribution(worker)[0] = ramp + worker + number
            group.contribution(worker)[1] = worker
        _check_reports(group, number, workers)
        weights = np.array([0.0 if worker == 1 else 0.5 for worker in range(workers)])
        old, new = group.replicas[number % 2], group.replicas[1 - number % 2]
        before = old.copy()
        group.all_gather(b"0")  # every process has copied it: the combination may write
        norms: list[float] = []
        sizes: list[int] = []

        def begin(
            norm: float,
            old: np.ndarray = old,
            new: np.ndarray = new,
            norms: list[float] = norms,
            sizes: list[int] = sizes,
        ) -> Callable[[np.ndarray, slice], None]:
            def apply(total: np.ndarray, where: slice) -> None:
                new[:, where] = total + old[:, where]
                norms.append(norm)
                sizes.append(where.stop - where.start)

            return apply

        with_norm = number == 1
        if 1 in group.hosted:  # a weight of 0 leaves a contribution out, even one of nan
            group.contribution(1)[:] = np.nan
        group.combine(weights, begin, with_norm)
        counted = [w for w in range(workers) if w != 1]
        reduced = np.stack([(ramp + number) * len(counted) + sum(counted), np.full(parameters, sum(counted))]) / 2
        assert (new - before == reduced).all()
        assert with_norm or abs(sum(sizes) - share) <= 64, f"{sizes} of {parameters}"
        if with_norm:
            assert all(abs(norm / np.sum(reduced[0].astype(float) ** 2) - 1) < 1e-12 for norm in norms)
        group.all_gather(b"0")  # every process has looked: the next round may write


def _check_reports(group: Group, number: int, workers: int) -> None:
    own = [Report(w, 10 * w + number, w / 8, w - 2, w / 4) for w in group.hosted]
    reports = group.exchange_reports(own, Notice(round=number, signal=group.transport.process))
    columns = zip(reports.steps_done, reports.loss, reports.first_nonfinite, reports.seconds, strict=True)
    assert list(columns) == [(10 * w + number, w / 8, w - 2, w / 4) for w in range(workers)]
    assert reports.nonfinite_workers == list(range(2, workers))
    assert list(reports.notices) == [Notice(round=number, signal=process) for process in group.transport.members]


def hashes(make: Callable[[], Transport], all_workers: tuple[int, ...] = (4, 8)) -> dict[str, Any]:
    """The hash and the progress of every strategy, with equal and unequal speeds, by name."""
    return {
        f"{name}, {workers} workers": train(job(strategies(workers)[name], workers), make())
        for workers in all_workers
        for name in NAMES
    }


if __name__ == "__main__":
    import json

    from psgd.group.mpi.open_transport import open_transport
    from psgd.group.mpi.world import World

    assert len(SPEEDS) >= 8
    world = World()
    process, processes = world.process, len(world.members)
    wanted = int(sys.argv[1])
    assert processes == wanted, f"{processes} processes instead of {wanted}"
    for workers in (1, 3, 4, 5):
        transport = open_transport(world, 30.0)
        check_group(transport, workers)
        transport.close()
    transports = []

    def make() -> Transport:
        transports.append(open_transport(world, 30.0))
        return transports[-1]

    found = hashes(make)
    hosts = len(set(transports[0].hosts))
    for transport in transports:
        transport.close()
    world.close()
    if process == 0:
        print(json.dumps({"hosts": hosts, "hashes": {name: sha for name, (sha, _) in found.items()}}))
