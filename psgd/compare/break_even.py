"""Where the reference and each other arm break even: on which networks one is shown to be faster than the other."""

import math
from collections.abc import Callable
from itertools import groupby
from typing import Any, NamedTuple

from psgd.compare import numbers
from psgd.compare.analysis import against
from psgd.compare.clock import Price
from psgd.compare.standing import BANDWIDTHS, LATENCIES, Place, Standing, networks, places, standing
from psgd.compare.statistics import Verdict

HALVINGS = 40  # of the interval in which median times become equal; raised, the point is more exact

Json = dict[str, Any]


class Axis(NamedTuple):
    """A bandwidth or a latency that is varied while the other stays: the values, and how the arms stand at each."""

    where: str  # the number that stays
    values: tuple[float, ...]
    price: Callable[[float], Price]
    text: Callable[[float, int], str]
    stand: list[Standing]

    def range(self, first: int, last: int) -> str:
        """The values from one to another, by index."""
        return f"from {self.text(self.values[first], 2)} to {self.text(self.values[last], 2)}"


def break_even(results: Json) -> list[str]:
    """Say for each place, network and arm where the arm or the reference is shown to be faster: at which bandwidths at
    the network's latency, at which latencies at its bandwidth."""
    sentences, reference = [], results["reference"]
    for place in places(results):
        if reference not in place.cells or len(place.cells) < 2:
            continue
        for name, price in networks(results, place.workers):
            axes = _axes(results, place, price)
            for arm in place.cells.keys() - {reference}:
                found = _compared(results, place, axes, reference, arm)
                sentences += [f"{place}, price {name}: {sentence}" for sentence in found]
    return sorted(sentences)


def _axes(results: Json, place: Place, price: Price) -> list[Axis]:
    network = price.network
    assert network

    def axis(where: str, values: tuple[float, ...], name: str, text: Callable[[float, int], str]) -> Axis:
        def at(value: float) -> Price:
            return price._replace(network=network._replace(**{name: value}))

        return Axis(where, values, at, text, [standing(results, place.cells, at(value)) for value in values])

    return [
        axis(f"at {numbers.seconds(network.latency, 2)}", BANDWIDTHS, "bandwidth", numbers.bandwidth),
        axis(f"at {numbers.bandwidth(network.bandwidth, 2)}", LATENCIES, "latency", numbers.seconds),
    ]


def _compared(results: Json, place: Place, axes: list[Axis], one: str, other: str) -> list[str]:
    reached = [arm for arm in (one, other) if math.isfinite(axes[0].stand[0].medians[arm])]
    if len(reached) < 2:
        return [f"of {one} and {other}, only {reached[0]} reaches the target in most runs"] if reached else []
    verdicts = [_verdicts(place, axis, one, other) for axis in axes]
    ends = [_equal(results, place, axis, one, other) for axis in axes]
    same = [_everywhere(each) for each in verdicts]
    if same[0] and same[0] == same[1]:
        ranges = [f"{axis.range(0, -1)} {axis.where}{end}" for axis, end in zip(axes, ends, strict=True)]
        return [f"{_said(same[0], one, other)} anywhere {' and '.join(ranges)}"]
    return [_sentence(*each, one, other) for each in zip(axes, verdicts, ends, strict=True)]


def _verdicts(place: Place, axis: Axis, one: str, other: str) -> list[Verdict]:
    """How `other` stands to `one`, compared as all arms of the place are, at each value."""
    return [against(one, place.cells, stands.times)[other].verdict for stands in axis.stand]


def _everywhere(verdicts: list[Verdict]) -> Verdict | None:
    """The verdict at all values, if there is one; where the arms are equivalent at some, they are undecided in all."""
    kinds = set(verdicts)
    return "undecided" if kinds == {"equivalent", "undecided"} else kinds.pop() if len(kinds) == 1 else None


def _said(verdict: Verdict, one: str, other: str) -> str:
    if verdict == "equivalent":
        return f"{one} and {other} are equivalent"
    if verdict == "undecided":
        return f"neither of {one} and {other} is shown to be faster"
    first, second = (one, other) if verdict == "slower" else (other, one)
    return f"{first} wins over {second}"


def _sentence(axis: Axis, verdicts: list[Verdict], end: str, one: str, other: str) -> str:
    if everywhere := _everywhere(verdicts):
        return f"{axis.where}, {_said(everywhere, one, other)} anywhere {axis.range(0, -1)}{end}"
    wins, last = [], len(verdicts) - 1
    for verdict, group in groupby(range(len(verdicts)), verdicts.__getitem__):
        at = list(group)
        if verdict in ("faster", "slower"):
            low, high = (axis.text(axis.values[i], 2) for i in (at[0], at[-1]))
            where = f"up to {high}" if not at[0] else f"from {low} on" if at[-1] == last else f"from {low} to {high}"
            wins.append(f"{one if verdict == 'slower' else other} wins {where}")
    return f"{axis.where}, {' and '.join(wins)}; elsewhere neither of {one} and {other} is shown to be faster{end}"


def _equal(results: Json, place: Place, axis: Axis, one: str, other: str) -> str:
    """Where the median times are equal, in brackets; empty if one is ahead at both ends."""
    cells = {arm: place.cells[arm] for arm in (one, other)}

    def lead(value: float) -> float:
        """Seconds by which `one` is ahead."""
        medians = standing(results, cells, axis.price(value)).medians
        return medians[other] - medians[one]

    low, high = axis.values[0], axis.values[-1]
    if lead(low) * lead(high) >= 0:
        return ""
    return f" (equal median times at {axis.text(_root(lead, low, high), 2)})"


def _root(lead: Callable[[float], float], low: float, high: float) -> float:
    """Where `lead`, which has unlike signs at `low` and `high`, changes its sign, by bisection of the logarithm."""
    rising = lead(high) > 0
    for _ in range(HALVINGS):
        middle = math.sqrt(low * high)
        low, high = (low, middle) if (lead(middle) > 0) == rising else (middle, high)
    return math.sqrt(low * high)
