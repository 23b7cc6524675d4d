"""When arms reach the target at a grid point under a modelled price: the times of their runs, and the medians."""

import math
from collections.abc import Iterator, Mapping
from typing import NamedTuple

from psgd.compare.analysis.crossing import Crossing
from psgd.compare.analysis.statistics import median_of_all
from psgd.compare.analysis.tables import crossings
from psgd.compare.modelled.clock import Price, as_price, place_on_hosts
from psgd.compare.results_file import Json

LATENCIES = tuple(10 ** (-5 + i / 4) for i in range(17))  # seconds: 10 us to 100 ms
BANDWIDTHS = tuple(10 ** (6 + i / 4) for i in range(21))  # bits a second: 1 Mbit/s to 100 Gbit/s


class ArmTimes(NamedTuple):
    """When the runs of each arm reached the target, by seed, and the median over all runs, in seconds: infinite unless
    more than half of them reached it."""

    times: dict[str, dict[int, Crossing]]
    medians: dict[str, float]


def arm_times(results: Json, cells: Mapping[str, Json], price: Price) -> ArmTimes:
    """The times of cells, given by arm."""
    target = results["target"]["value"]
    times = {
        arm: {seed: time for seed, (_, time) in crossings(results, cell, price, target).items()}
        for arm, cell in cells.items()
    }
    medians = {
        arm: median_of_all([time.high for time in found.values() if time.reached], len(found))
        for arm, found in times.items()
    }
    return ArmTimes(times, {arm: math.inf if median is None else median for arm, median in medians.items()})


def modelled_prices(results: Json, workers: int) -> Iterator[tuple[str, Price]]:
    """The prices that are not measured, of machines on which so many workers have room."""
    for name, price in results["prices"].items():
        if not isinstance(price, str):
            found = as_price(price)
            if found.workers_per_host is None or found.workers_per_host * found.hosts >= workers:
                yield name, found


def networks(results: Json, workers: int) -> Iterator[tuple[str, Price]]:
    """The modelled prices in which the workers are on several hosts with a network between them."""
    for name, price in modelled_prices(results, workers):
        if price.network and place_on_hosts(workers, price.hosts, price.workers_per_host).hosts > 1:
            yield name, price
