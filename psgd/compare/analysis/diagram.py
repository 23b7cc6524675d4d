"""The winner on each network: a map by latency and bandwidth, computed from runs that were trained once."""

import math

from psgd.compare.analysis.arm_times import BANDWIDTHS, LATENCIES, arm_times, networks
from psgd.compare.analysis.grid import GridPoint, points_with_cells, unusable
from psgd.compare.analysis.tables import against
from psgd.compare.modelled.clock import Price, place_on_hosts
from psgd.compare.modelled.network import Link
from psgd.compare.results_file import Json


def diagram(results: Json) -> Json | None:
    """Find the arm with the shortest median time for each latency and bandwidth, as an index into the arms, or None
    where no arm reaches the target in more than half of its runs; and whether it has won: whether each other arm is
    shown to be slower, or has the same times. Both are by latency, then by bandwidth.

    It is of the largest grid point; the hosts are those of the first price with a network, or one a worker. None if
    there is no point for it."""
    point = _largest(points_with_cells(results))
    if point is None:
        return None
    name, price = next(networks(results, point.workers), (None, Price(hosts=point.workers)))
    first = [
        [_first(results, point, price._replace(network=Link(bandwidth, latency))) for bandwidth in BANDWIDTHS]
        for latency in LATENCIES
    ]
    return {
        "at": point.at,
        "price": name,
        "hosts": place_on_hosts(point.workers, price.hosts, price.workers_per_host).hosts,
        "latencies": list(LATENCIES),
        "bandwidths": list(BANDWIDTHS),
        "first": [[arm for arm, _ in row] for row in first],
        "won": [[won for _, won in row] for row in first],
    }


def left_out(results: Json) -> list[str]:
    """Say which arms the map leaves out, and whether it is of another grid point therefore, or of none."""
    wanted, point = _largest(points_with_cells(results, all_cells=True)), _largest(points_with_cells(results))
    if wanted is None:
        return []
    if point is None:
        return [f"There is no map of networks: at {wanted}, {_missing(wanted)}."]
    moved = point.at != wanted.at
    said = [f"The map of networks is of {point} and not of {wanted}: there, {_missing(wanted)}."] if moved else []
    here = next(each for each in points_with_cells(results, all_cells=True) if each.at == point.at)
    return said + ([f"The map of networks leaves out arms: {missing}."] if (missing := _missing(here)) else [])


def _missing(point: GridPoint) -> str:
    return ", ".join(f"{arm} {why}" for arm, cell in point.cells.items() if (why := unusable(cell)))


def _largest(found: list[GridPoint]) -> GridPoint | None:
    """Return the grid point with most workers, of those with several arms and workers; the last of equals."""
    several = [point for point in found if point.workers > 1 and len(point.cells) > 1]
    return max(reversed(several), key=lambda point: point.workers, default=None)


def _first(results: Json, point: GridPoint, price: Price) -> tuple[int | None, bool]:
    found = arm_times(results, point.cells, price)
    best = min(found.medians, key=found.medians.__getitem__)
    if math.isinf(found.medians[best]):
        return None, False
    apart = {arm: times for arm, times in found.times.items() if arm == best or times != found.times[best]}
    won = all(rival.verdict == "slower" for rival in against(best, point.cells, apart).values())
    return results["arms"].index(best), won
