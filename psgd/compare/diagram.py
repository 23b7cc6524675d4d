"""The winner on each network: a map by latency and bandwidth, computed from runs that were trained once."""

import math
from typing import Any

from psgd.compare.analysis import against
from psgd.compare.clock import Price, place_on_hosts
from psgd.compare.network import Network
from psgd.compare.standing import BANDWIDTHS, LATENCIES, Place, networks, places, standing, unusable

Json = dict[str, Any]


def diagram(results: Json) -> Json | None:
    """Find the arm with the shortest median time for each latency and bandwidth, as an index into the arms, or None
    where no arm reaches the target in more than half of its runs; and whether it has won: whether each other arm is
    shown to be slower, or has the same times. Both are by latency, then by bandwidth.

    It is of the largest place; the hosts are those of the first price with a network, or one a worker. None if there
    is no place for it."""
    place = _largest(places(results))
    if place is None:
        return None
    name, price = next(networks(results, place.workers), (None, Price(hosts=place.workers)))
    first = [
        [_first(results, place, price._replace(network=Network(bandwidth, latency))) for bandwidth in BANDWIDTHS]
        for latency in LATENCIES
    ]
    return {
        "at": place.at,
        "price": name,
        "hosts": place_on_hosts(place.workers, price.hosts, price.workers_per_host).hosts,
        "latencies": list(LATENCIES),
        "bandwidths": list(BANDWIDTHS),
        "first": [[arm for arm, _ in row] for row in first],
        "won": [[won for _, won in row] for row in first],
    }


def left_out(results: Json) -> list[str]:
    """Say which arms the map leaves out, and whether it is therefore of another place than it would be, or of none."""
    wanted, place = _largest(places(results, all_cells=True)), _largest(places(results))
    if wanted is None:
        return []
    if place is None:
        return [f"There is no map of networks: at {wanted}, {_missing(wanted)}."]
    moved = place.at != wanted.at
    said = [f"The map of networks is of {place} and not of {wanted}: there, {_missing(wanted)}."] if moved else []
    here = next(each for each in places(results, all_cells=True) if each.at == place.at)
    return said + ([f"The map of networks leaves out arms: {missing}."] if (missing := _missing(here)) else [])


def _missing(place: Place) -> str:
    return ", ".join(f"{arm} {why}" for arm, cell in place.cells.items() if (why := unusable(cell)))


def _largest(found: list[Place]) -> Place | None:
    """Return the place with most workers among those with two arms or more and several workers; the last of equals."""
    several = [place for place in found if place.workers > 1 and len(place.cells) > 1]
    return max(reversed(several), key=lambda place: place.workers, default=None)


def _first(results: Json, place: Place, price: Price) -> tuple[int | None, bool]:
    stands = standing(results, place.cells, price)
    best = min(stands.medians, key=stands.medians.__getitem__)
    if math.isinf(stands.medians[best]):
        return None, False
    apart = {arm: times for arm, times in stands.times.items() if arm == best or times != stands.times[best]}
    won = all(rival.verdict == "slower" for rival in against(best, place.cells, apart).values())
    return results["arms"].index(best), won
