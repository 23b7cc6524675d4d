"""The modelled clock: the seconds that a finished run would have taken on other machines and another network.

A run's rounds do not depend on where it runs, so that they are priced as often as wanted without training again. On a
host, each worker has a process and a core of its own, and its processes share the reduction, each a slice. Computing is
as measured on one machine, times `machine_speed`; worker i of speed s_i takes step / s_i for a step. Evaluations cost
nothing.
"""

from collections.abc import Mapping
from functools import lru_cache
from math import ceil
from typing import Any, NamedTuple

import numpy as np

from psgd.compare.modelled.network import MPICH, Library, Link, all_gather_seconds, broadcasts_seconds, parse_network
from psgd.compare.modelled.work import Work, combinations, work
from psgd.core.errors import UsageError
from psgd.group.placement import default_placement
from psgd.group.reports import ROW_BYTES, SEGMENT_SECONDS
from psgd.group.tree_reduce import maximal_subtrees

BARRIER_SECONDS = 5e-6  # of a barrier of two processes of a host, where it was not measured


class Price(NamedTuple):
    """Machines and a network. Without a network between them, hosts exchange in no time."""

    hosts: int = 1
    workers_per_host: int | None = None  # as evenly as possible if not given
    network: Link | None = None
    machine_speed: float = 1.0  # relative to the machine on which costs were measured
    dollars_per_host_hour: float | None = None
    watts_per_host: float | None = None


class TimeParts(NamedTuple):
    """Seconds of training up to each evaluation: their sum, and its parts, which are None where time was measured.

    A step's time beyond the workers' mean is waiting: the others wait for the slowest."""

    seconds: np.ndarray
    computing: np.ndarray | None  # mean over the workers; also reduction, application and the loop itself
    waiting: np.ndarray | None
    moving: np.ndarray | None  # messages between hosts, and barriers of the processes of a host


class HostPlacement(NamedTuple):
    """Which hosts have workers, and how many."""

    hosts: int
    most: int  # workers, and processes, of one host
    roots: tuple[int, ...]  # hosts in the order in which they send a sum, once for each of its maximal subtrees


def as_price(price: Price | Mapping[str, Any]) -> Price:
    """Read a price, as results.json has it. UsageError if a value is not above 0, or the network cannot be parsed."""
    return price if isinstance(price, Price) else _price(*(price.get(name) for name in Price._fields))


@lru_cache
def _price(
    hosts: int | None,
    workers_per_host: int | None,
    network: str | None,
    machine_speed: float | None,
    dollars: float | None,
    watts: float | None,
) -> Price:
    for name, value in (("hosts", hosts), ("workers_per_host", workers_per_host), ("machine_speed", machine_speed)):
        if value is not None and not value > 0:
            raise UsageError(f"{name} is {value!r}; give a number above 0")
    return Price(
        hosts or 1, workers_per_host, parse_network(network) if network else None, machine_speed or 1.0, dollars, watts
    )


@lru_cache
def place_on_hosts(workers: int, hosts: int, workers_per_host: int | None) -> HostPlacement:
    """Place workers on hosts, neighbours together. UsageError if there are too few hosts."""
    if workers_per_host is None:
        placed = list(default_placement(workers, range(min(hosts, workers))).values())
    else:
        starts = range(0, workers, workers_per_host)
        placed = [tuple(range(start, min(start + workers_per_host, workers))) for start in starts]
        if len(placed) > hosts:
            raise UsageError(
                f"hosts is {hosts}: {workers} workers, {workers_per_host} a host, need {len(placed)}; raise hosts or "
                "workers_per_host"
            )
    subtrees = [len(maximal_subtrees(hosted, workers)) for hosted in placed]
    roots = [host for turn in range(max(subtrees)) for host, count in enumerate(subtrees) if turn < count]
    return HostPlacement(len(placed), max(map(len, placed)), tuple(roots))


def hosts_used(cell: Mapping[str, Any], price: Price | Mapping[str, Any]) -> int:
    """How many hosts have workers."""
    price = as_price(price)
    return place_on_hosts(cell["workers"], price.hosts, price.workers_per_host).hosts


def spent(
    cell: Mapping[str, Any], price: Price | Mapping[str, Any], seconds: float
) -> tuple[float | None, float | None]:
    """Calculate (dollars, watt-hours) of `seconds` on the hosts used; None where the price does not say."""
    price = as_price(price)
    hours = seconds / 3600 * hosts_used(cell, price)
    dollars, watts = price.dollars_per_host_hour, price.watts_per_host
    return None if dollars is None else dollars * hours, None if watts is None else watts * hours


def times(
    cell: Mapping[str, Any], run: Mapping[str, Any], price: Price | Mapping[str, Any] | str, library: Library = MPICH
) -> TimeParts | None:
    """Price a run: seconds at each evaluation, for a price or "measured". None if the run was not timed, or the cell's
    costs were not measured. UsageError if the price has too few hosts."""
    if isinstance(price, str):
        measured = run.get("measured")
        return TimeParts(np.median(measured["seconds"], axis=0), None, None, None) if measured else None
    costs = cell["costs"]
    if costs is None:
        return None
    price = as_price(price)
    done, combined = work(cell, run), combinations(cell, run)
    speed = _speed(cell["workers"], costs.get("contention", 0.0), price)
    step = costs["step"] / speed
    one = _combination(cell, costs, price, speed, library)
    computing = done.mean * step + done.rounds * (costs["rest"] / speed) + combined * one.computing
    if (candidates := costs.get("candidates", 1)) > 1:
        computing += done.uneven * (candidates * costs["score"] / (cell["workers"] * speed))
    waiting = (done.critical - done.mean) * step
    moving = combined * one.moving + _exchanges(done, step) * one.reports
    return TimeParts(computing + waiting + moving, computing, waiting, moving)


class _One(NamedTuple):
    """Seconds of one combination, and of one exchange of reports."""

    computing: float
    moving: float
    reports: float


def _speed(workers: int, contention: float, price: Price) -> float:
    """The speed of a process, relative to one alone on the machine on which costs were measured."""
    most = place_on_hosts(workers, price.hosts, price.workers_per_host).most
    return price.machine_speed / (1 + contention * (most - 1))


def _combination(
    cell: Mapping[str, Any], costs: Mapping[str, Any], price: Price, speed: float, library: Library
) -> _One:
    """On one host: reduction of all contributions, a barrier. On several: each reduces its own to sums of subtrees,
    its first process receives those of the others, and all reduce those; three barriers."""
    workers: int = cell["workers"]
    if workers == 1:
        return _One(costs["apply"] / speed, 0.0, 0.0)
    hosts, most, roots = place_on_hosts(workers, price.hosts, price.workers_per_host)
    barrier = costs.get("barrier", BARRIER_SECONDS) * (most - 1).bit_length() / speed
    reduced = workers if hosts == 1 else most + len(roots)
    computing = (reduced * costs["leaf"] + costs["apply"]) / (most * speed)
    reports, moving = barrier, barrier * (1 if hosts == 1 else 3)
    if hosts > 1 and price.network:
        reports += all_gather_seconds(price.network, library, hosts, most, ROW_BYTES)
        moving += broadcasts_seconds(price.network, library, roots, hosts, cell["message_bytes"])
    return _One(computing, moving + costs.get("gathers", 0) * reports, reports)


def _exchanges(done: Work, step: float) -> np.ndarray:
    """Exchanges of reports up to each evaluation: one a round, or one a segment where rounds are long."""
    if not done.rounds.size or not done.rounds[-1]:
        return done.rounds
    steps = float(done.critical[-1] / done.rounds[-1])  # a round
    return done.rounds * max(1, min(ceil(steps * step / SEGMENT_SECONDS), ceil(steps)))
