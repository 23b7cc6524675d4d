"""What only a modelled clock can say: which arm wins on which network, where two arms break even, which period is best.

Everything is computed from runs that were trained once. The time of an arm is the median over its seeds of the seconds
up to the first evaluation at which the target is reached; a seed that misses it takes for ever.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np

from psgd.compare import numbers
from psgd.compare.cells import place_name
from psgd.compare.clock import Price, as_price, layout, times
from psgd.compare.crossing import first_reached, higher_is_better
from psgd.compare.network import Network

LATENCIES = tuple(10 ** (-5 + i / 4) for i in range(17))  # seconds: 10 us to 100 ms
BANDWIDTHS = tuple(10 ** (6 + i / 4) for i in range(21))  # bits a second: 1 Mbit/s to 100 Gbit/s
HALVINGS = 40  # of the interval of a break-even point; raised, it is more exact

Json = Mapping[str, Any]


class Place(NamedTuple):
    """The cells of one setting of the axes, by arm: those that have costs and are comparable."""

    at: dict[str, str]
    workers: int  # of the cell with most
    cells: dict[str, Json]

    def __str__(self) -> str:
        return place_name(self.at) or f"{self.workers} workers"


def seconds_to_target(cell: Json, price: Price, target: Json) -> float:
    """The median over the cell's runs; infinite if half of them or more miss the target."""
    found: list[float] = []
    for run in cell["runs"]:
        scores = run["series"].get(target["metric"], ())
        place = first_reached(scores, target["value"], higher_is_better(target["metric"]))
        parts = None if place is None else times(cell, run, price)
        found.append(np.inf if parts is None else float(parts.seconds[place]))
    return float(np.median(found)) if found else np.inf


def diagram(results: Json) -> dict[str, Any] | None:
    """Find the winner for each latency and bandwidth, as an index into the arms, or None where no arm reaches the
    target: "winner" is by latency, then by bandwidth. Of the places with two arms or more, the last with most workers
    is taken; the hosts are those of the first price with a network, or one a worker. None if there is no such place."""
    candidates = [place for place in _places(results) if place.workers > 1 and len(place.cells) > 1]
    if not candidates:
        return None
    place = max(reversed(candidates), key=lambda place: place.workers)
    name, price = next(_networks(results, place.workers), (None, Price(hosts=place.workers)))
    winner = [
        [_winner(results, place, price._replace(network=Network(bandwidth, latency))) for bandwidth in BANDWIDTHS]
        for latency in LATENCIES
    ]
    return {
        "at": place.at,
        "price": name,
        "hosts": layout(place.workers, price.hosts, price.workers_per_host).hosts,
        "latencies": list(LATENCIES),
        "bandwidths": list(BANDWIDTHS),
        "winner": winner,
    }


def _winner(results: Json, place: Place, price: Price) -> int | None:
    seconds = {arm: seconds_to_target(cell, price, results["target"]) for arm, cell in place.cells.items()}
    best = min(seconds, key=lambda arm: seconds[arm])
    return results["arms"].index(best) if np.isfinite(seconds[best]) else None


def break_even(results: Json) -> list[str]:
    """Say for each place, network and arm where the reference is faster: from which bandwidth at the network's latency,
    up to which latency at its bandwidth."""
    sentences, reference = [], results["reference"]
    for place in _places(results):
        if reference not in place.cells:
            continue
        for name, price in _networks(results, place.workers):
            for arm in place.cells.keys() - {reference}:
                found = _compared(place, reference, arm, price, results["target"])
                sentences += [f"{place}, price {name}: {sentence}" for sentence in found]
    return sorted(sentences)


def _compared(place: Place, one: str, other: str, price: Price, target: Json) -> list[str]:
    network = price.network
    assert network
    reached = [arm for arm in (one, other) if np.isfinite(seconds_to_target(place.cells[arm], price, target))]
    if len(reached) < 2:
        return [f"of {one} and {other}, only {reached[0]} reaches the target in most runs"] if reached else []

    def lead(network: Network) -> float:
        """Seconds by which `one` is ahead."""
        there = price._replace(network=network)
        first, second = (seconds_to_target(place.cells[arm], there, target) for arm in (one, other))
        return second - first

    bandwidth, latency = numbers.bandwidth(network.bandwidth, 2), numbers.seconds(network.latency, 2)
    axes = [
        (f"at {latency}", BANDWIDTHS, lambda x: lead(network._replace(bandwidth=x)), numbers.bandwidth),
        (f"at {bandwidth}", LATENCIES, lambda x: lead(network._replace(latency=x)), numbers.seconds),
    ]
    ahead = [_ahead(one, other, over, leads) for _, over, leads, _ in axes]
    if ahead[0] and ahead[0] == ahead[1]:
        ranges = [f"from {text(over[0], 2)} to {text(over[-1], 2)} {where}" for where, over, _, text in axes]
        return [f"{ahead[0]} wins over {other if ahead[0] == one else one} anywhere {' and '.join(ranges)}"]
    return [_sentence(one, other, *axis) for axis in axes]


def _ahead(one: str, other: str, over: tuple[float, ...], lead: Callable[[float], float]) -> str | None:
    """The arm that is ahead from the first to the last value; None if that changes, or neither is ahead."""
    ends = lead(over[0]), lead(over[-1])
    if ends[0] * ends[1] < 0 or ends == (0, 0):
        return None
    return one if sum(ends) > 0 else other


def _sentence(
    one: str,
    other: str,
    where: str,
    over: tuple[float, ...],
    lead: Callable[[float], float],
    text: Callable[[float, int], str],
) -> str:
    """Say where `one` is ahead of `other`: above, below, everywhere or nowhere."""
    low, high = over[0], over[-1]
    if ahead := _ahead(one, other, over, lead):
        behind = other if ahead == one else one
        return f"{where}, {ahead} wins over {behind} anywhere from {text(low, 2)} to {text(high, 2)}"
    if lead(low) == 0 == lead(high):
        return f"{where}, {one} and {other} take equally long"
    point = text(crossing(lead, low, high), 2)
    above, below = (one, other) if lead(high) > 0 else (other, one)
    return f"{where}, {above} wins above {point} and {below} below"


def crossing(lead: Callable[[float], float], low: float, high: float) -> float:
    """Where `lead`, which has unlike signs at `low` and `high`, changes its sign, by bisection of the logarithm."""
    rising = lead(high) > 0
    for _ in range(HALVINGS):
        middle = float(np.sqrt(low * high))
        low, high = (low, middle) if (lead(middle) > 0) == rising else (middle, high)
    return float(np.sqrt(low * high))


def best_period(results: Json) -> list[str]:
    """Say for each place and price which period reaches the target soonest, of the arms that differ in their period
    alone, and what the others cost against it."""
    sentences = []
    for place in _places(results):
        for family in _families(place.cells.values()):
            for name, price in _modelled(results, place.workers):
                seconds = {cell["period"]: seconds_to_target(cell, price, results["target"]) for cell in family}
                best = min(seconds, key=lambda period: seconds[period])
                if np.isfinite(seconds[best]):
                    kind = family[0]["strategy"]
                    others = [_against(period, s, seconds[best]) for period, s in seconds.items() if period != best]
                    time = f"{numbers.seconds(seconds[best])} to the target"
                    text = f"{place}, price {name}: the best period of {kind} is {best}, {time}; {', '.join(others)}"
                    sentences.append(text)
    return sentences


def _against(period: int | str, seconds: float, best: float) -> str:
    return (
        f"{period} takes {numbers.digits(seconds / best, 3)} times as long"
        if np.isfinite(seconds)
        else f"{period} misses it"
    )


def _families(cells: Iterable[Json]) -> list[list[Json]]:
    """The cells that differ in strategy.period and in what was tuned alone, where there are several."""
    families: dict[str, list[Json]] = {}
    for cell in cells:
        if cell["period"] is not None:
            apart = {"strategy.period", *cell["tuned"]}
            same = {name: value for name, value in cell["settings"].items() if name not in apart}
            families.setdefault(f"{cell['strategy']} {sorted(same.items())}", []).append(cell)
    return [family for family in families.values() if len({cell["period"] for cell in family}) > 1]


def _places(results: Json) -> list[Place]:
    """The settings of the axes, in the order of the cells."""
    places: dict[tuple[tuple[str, str], ...], Place] = {}
    for cell in results["cells"]:
        if cell["costs"] is not None and cell["comparable"] and not cell["error"]:
            key = tuple(cell["at"].items())
            place = places.get(key, Place(dict(cell["at"]), 0, {}))
            cells = {**place.cells, cell["arm"]: cell}
            places[key] = place._replace(workers=max(place.workers, cell["workers"]), cells=cells)
    return list(places.values())


def _modelled(results: Json, workers: int) -> Iterator[tuple[str, Price]]:
    """The prices that are not measured, of machines on which so many workers have room."""
    for name, price in results["prices"].items():
        if not isinstance(price, str):
            found = as_price(price)
            if found.workers_per_host is None or found.workers_per_host * found.hosts >= workers:
                yield name, found


def _networks(results: Json, workers: int) -> Iterator[tuple[str, Price]]:
    """The modelled prices in which the workers are on several hosts with a network between them."""
    for name, price in _modelled(results, workers):
        if price.network and layout(workers, price.hosts, price.workers_per_host).hosts > 1:
            yield name, price
