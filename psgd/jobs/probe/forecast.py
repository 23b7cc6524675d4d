"""How fast a job would be with other workers and strategies: arithmetic on measured costs. It measures nothing.

A round of a strategy on n processes, each with h workers, w = h n in all:

    h leg s(n) + (w leaf + apply) s(n) / n + rest + MEETINGS meeting(n)

where s(n) is how many times longer the same work takes when n processes do it at once: they share memory and clock.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import ceil, log2
from typing import NamedTuple, final

MEETINGS = 2  # a round: the roster, and the end of the combination
WORTH = 1.1  # times one worker: less is not worth another process
SUPPOSED_MEETING = 5e-6  # seconds, where there is one core and no meeting can be measured


@final
@dataclass(frozen=True)
class Round:
    """What one round of a strategy costs one process that is alone, in seconds."""

    strategy: str
    steps: int  # of a worker
    leg: float  # the local work of one worker
    leaf: float  # folding one contribution, all parameters
    apply: float  # what is done with the fold, all parameters
    rest: float  # the loop's own


@final
@dataclass(frozen=True)
class Machine:
    """What happens when processes run at once: both measured alone (1.0 and 0.0) and with up to as many as cores."""

    cores: int
    slowdowns: Mapping[int, float]  # processes -> s(n)
    meetings: Mapping[int, float]  # processes -> seconds of one meeting

    def slowdown(self, processes: int) -> float:
        """s(n); beyond what was measured it goes on in the straight line from one process to the most."""
        return _along(self.slowdowns, processes)

    def meeting(self, processes: int) -> float:
        """Beyond what was measured it grows as a tree does."""
        most = max(self.meetings)
        if processes <= most:
            return _along(self.meetings, processes)
        if most == 1:
            return SUPPOSED_MEETING * log2(processes)
        return self.meetings[most] * log2(processes) / log2(most)


def _along(known: Mapping[int, float], at: int) -> float:
    """`known` at a number that may lie between those known, or beyond them."""
    if at in known:
        return known[at]
    below = max(n for n in known if n < at)
    above = min((n for n in known if n > at), default=None)
    if above is None:
        below, above = 1, below
    if above == below:
        return known[below]
    return known[below] + (known[above] - known[below]) * (at - below) / (above - below)


class Forecast(NamedTuple):
    strategy: str
    workers: int
    processes: int
    examples_per_second: float
    modelled: bool  # it supposes more cores than there are


def forecast(round: Round, machine: Machine, batch: int, workers: int, processes: int) -> Forecast:
    """`batch`: examples of a worker's step."""
    slowdown, hosted = machine.slowdown(processes), ceil(workers / processes)
    combination = (workers * round.leaf + round.apply) / processes
    meetings = MEETINGS * machine.meeting(processes)
    seconds = (hosted * round.leg + combination) * slowdown + round.rest + meetings
    examples = workers * round.steps * batch
    return Forecast(round.strategy, workers, processes, examples / seconds, processes > machine.cores)


def best(forecasts: Sequence[Forecast]) -> Forecast:
    """The fastest with a core for each worker, of the cores there are, unless one worker is about as fast."""
    one, most = fastest_alone(forecasts), max(_possible(forecasts), key=lambda f: f.examples_per_second)
    return most if most.examples_per_second >= WORTH * one.examples_per_second else one


def fastest_alone(forecasts: Sequence[Forecast]) -> Forecast:
    return max((f for f in forecasts if f.workers == 1), key=lambda f: f.examples_per_second)


def _possible(forecasts: Sequence[Forecast]) -> list[Forecast]:
    return [f for f in forecasts if not f.modelled and f.workers == f.processes]


def recommend(forecasts: Sequence[Forecast]) -> str:
    """One sentence."""
    one, choice = fastest_alone(forecasts), best(forecasts)
    if choice.workers > 1:
        gain = choice.examples_per_second / one.examples_per_second
        return f"{choice.workers} workers by {choice.strategy}: {gain:.1f} times one"
    others = [f for f in _possible(forecasts) if f.workers > 1]
    if not others:
        return "one worker is fastest here: there is one core"
    next_best = max(others, key=lambda f: f.examples_per_second)
    gain = next_best.examples_per_second / one.examples_per_second
    return (
        f"one worker is fastest for this network: {next_best.workers} by {next_best.strategy} would be "
        f"{gain:.2f} times as fast"
    )
