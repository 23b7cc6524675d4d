"""Where the reference and each other arm break even: on which networks one is shown to be faster than the other."""

import math
from collections.abc import Callable
from itertools import groupby
from typing import NamedTuple

from psgd.compare import numbers
from psgd.compare.analysis.arm_times import BANDWIDTHS, LATENCIES, ArmTimes, arm_times, networks
from psgd.compare.analysis.grid import GridPoint, points_with_cells
from psgd.compare.analysis.statistics import Verdict
from psgd.compare.analysis.tables import against
from psgd.compare.modelled.clock import Price
from psgd.compare.results_file import Json

HALVINGS = 40  # of the interval in which median times become equal; raised, the point is more exact


class Sweep(NamedTuple):
    """A bandwidth or a latency that is varied while the other stays: the values, and how the arms stand at each."""

    where: str  # the number that stays
    values: tuple[float, ...]
    price: Callable[[float], Price]
    text: Callable[[float, int], str]
    arm_times: list[ArmTimes]

    def range(self, first: int, last: int) -> str:
        """The values from one to another, by index."""
        return f"from {self.text(self.values[first], 2)} to {self.text(self.values[last], 2)}"


def break_even(results: Json) -> list[str]:
    """Say for each grid point, network and arm where one of arm and reference is shown to be faster: at which
    bandwidths at the network's latency, at which latencies at its bandwidth."""
    sentences, reference = [], results["reference"]
    for point in points_with_cells(results):
        if reference not in point.cells or len(point.cells) < 2:
            continue
        for name, price in networks(results, point.workers):
            sweeps = _sweeps(results, point, price)
            for arm in point.cells.keys() - {reference}:
                found = _compared(results, point, sweeps, reference, arm)
                sentences += [f"{point}, price {name}: {sentence}" for sentence in found]
    return sorted(sentences)


def _sweeps(results: Json, point: GridPoint, price: Price) -> list[Sweep]:
    network = price.network
    assert network

    def sweep(where: str, values: tuple[float, ...], name: str, text: Callable[[float, int], str]) -> Sweep:
        def at(value: float) -> Price:
            return price._replace(network=network._replace(**{name: value}))

        return Sweep(where, values, at, text, [arm_times(results, point.cells, at(value)) for value in values])

    return [
        sweep(f"at {numbers.seconds(network.latency, 2)}", BANDWIDTHS, "bandwidth", numbers.bandwidth),
        sweep(f"at {numbers.bandwidth(network.bandwidth, 2)}", LATENCIES, "latency", numbers.seconds),
    ]


def _compared(results: Json, point: GridPoint, sweeps: list[Sweep], one: str, other: str) -> list[str]:
    reached = [arm for arm in (one, other) if math.isfinite(sweeps[0].arm_times[0].medians[arm])]
    if len(reached) < 2:
        return [f"of {one} and {other}, only {reached[0]} reaches the target in most runs"] if reached else []
    verdicts = [_verdicts(point, sweep, one, other) for sweep in sweeps]
    ends = [_equal(results, point, sweep, one, other) for sweep in sweeps]
    same = [_everywhere(each) for each in verdicts]
    if same[0] and same[0] == same[1]:
        ranges = [f"{sweep.range(0, -1)} {sweep.where}{end}" for sweep, end in zip(sweeps, ends, strict=True)]
        return [f"{_in_words(same[0], one, other)} anywhere {' and '.join(ranges)}"]
    return [_sentence(*each, one, other) for each in zip(sweeps, verdicts, ends, strict=True)]


def _verdicts(point: GridPoint, sweep: Sweep, one: str, other: str) -> list[Verdict]:
    """How `other` stands to `one`, compared as all arms of the grid point are, at each value."""
    return [against(one, point.cells, found.times)[other].verdict for found in sweep.arm_times]


def _everywhere(verdicts: list[Verdict]) -> Verdict | None:
    """The verdict at all values, if there is one; where the arms are equivalent at some, they are undecided in all."""
    kinds = set(verdicts)
    return "undecided" if kinds == {"equivalent", "undecided"} else kinds.pop() if len(kinds) == 1 else None


def _in_words(verdict: Verdict, one: str, other: str) -> str:
    if verdict == "equivalent":
        return f"{one} and {other} are equivalent"
    if verdict == "undecided":
        return f"neither of {one} and {other} is shown to be faster"
    first, second = (one, other) if verdict == "slower" else (other, one)
    return f"{first} wins over {second}"


def _sentence(sweep: Sweep, verdicts: list[Verdict], end: str, one: str, other: str) -> str:
    if everywhere := _everywhere(verdicts):
        return f"{sweep.where}, {_in_words(everywhere, one, other)} anywhere {sweep.range(0, -1)}{end}"
    wins, last = [], len(verdicts) - 1
    for verdict, group in groupby(range(len(verdicts)), verdicts.__getitem__):
        at = list(group)
        if verdict in ("faster", "slower"):
            low, high = (sweep.text(sweep.values[i], 2) for i in (at[0], at[-1]))
            where = f"up to {high}" if not at[0] else f"from {low} on" if at[-1] == last else f"from {low} to {high}"
            wins.append(f"{one if verdict == 'slower' else other} wins {where}")
    return f"{sweep.where}, {' and '.join(wins)}; elsewhere neither of {one} and {other} is shown to be faster{end}"


def _equal(results: Json, point: GridPoint, sweep: Sweep, one: str, other: str) -> str:
    """Where the median times are equal, in brackets; empty if one is ahead at both ends."""
    cells = {arm: point.cells[arm] for arm in (one, other)}

    def lead(value: float) -> float:
        """Seconds by which `one` is ahead."""
        medians = arm_times(results, cells, sweep.price(value)).medians
        return medians[other] - medians[one]

    low, high = sweep.values[0], sweep.values[-1]
    if lead(low) * lead(high) >= 0:
        return ""
    return f" (equal median times at {sweep.text(_root(lead, low, high), 2)})"


def _root(lead: Callable[[float], float], low: float, high: float) -> float:
    """Where `lead`, which has unlike signs at `low` and `high`, changes its sign, by bisection of the logarithm."""
    rising = lead(high) > 0
    for _ in range(HALVINGS):
        middle = math.sqrt(low * high)
        low, high = (low, middle) if (lead(middle) > 0) == rising else (middle, high)
    return math.sqrt(low * high)
