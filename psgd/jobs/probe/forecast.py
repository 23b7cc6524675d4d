"""Forecasts how fast a job would be with other numbers of workers and strategies, by arithmetic on measured costs.

The seconds of a round on n processes, each with h workers, w = h n in all:

    h local s(n) + (w leaf + apply) s(n) / n + rest + EXCHANGES exchange(n)

where s(n) is how many times longer the same work takes when n processes do it at once: they share memory bandwidth and
the clock rate of the CPU.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import ceil, log2
from typing import NamedTuple, final

EXCHANGES = 2  # of a round: the reports, and the barrier after the combination
WORTH = 1.1  # times the speed of one worker, below which more processes are not recommended
ASSUMED_EXCHANGE = 5e-6  # seconds of an exchange where it cannot be measured, with one core


@final
@dataclass(frozen=True)
class Round:
    """The costs in seconds of one round of a strategy, in one process that is alone."""

    strategy: str
    steps: int  # of a worker
    local: float  # the local steps of one worker
    leaf: float  # reducing one contribution, over all parameters
    apply: float  # applying the sum, over all parameters
    rest: float  # the loop itself


@final
@dataclass(frozen=True)
class Machine:
    """How processes that run at once affect each other, measured for 1 process (1.0 and 0.0) and up to one a core."""

    cores: int
    slowdowns: Mapping[int, float]  # processes -> s(n)
    exchanges: Mapping[int, float]  # processes -> seconds of one exchange

    def slowdown(self, processes: int) -> float:
        """s(n); beyond what was measured, on the line through 1 process and the most processes."""
        return _along(self.slowdowns, processes)

    def exchange(self, processes: int) -> float:
        """Seconds of an exchange; beyond what was measured it grows with log2 of the number of processes."""
        most = max(self.exchanges)
        if processes <= most:
            return _along(self.exchanges, processes)
        if most == 1:
            return ASSUMED_EXCHANGE * log2(processes)
        return self.exchanges[most] * log2(processes) / log2(most)


def _along(known: Mapping[int, float], at: int) -> float:
    """Linear interpolation of `known` at a number, or extrapolation from 1 and the largest number."""
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
    modelled: bool  # for more cores than there are


def forecast(round: Round, machine: Machine, batch: int, workers: int, processes: int) -> Forecast:
    """The speed of a job; `batch`: examples of one worker's step."""
    slowdown, hosted = machine.slowdown(processes), ceil(workers / processes)
    combination = (workers * round.leaf + round.apply) / processes
    exchanges = EXCHANGES * machine.exchange(processes)
    seconds = (hosted * round.local + combination) * slowdown + round.rest + exchanges
    examples = workers * round.steps * batch
    return Forecast(round.strategy, workers, processes, examples / seconds, processes > machine.cores)


def best(forecasts: Sequence[Forecast]) -> Forecast:
    """The fastest that has a core for each worker; one worker if that is less than WORTH times as fast."""
    one, most = fastest_alone(forecasts), max(_possible(forecasts), key=lambda f: f.examples_per_second)
    return most if most.examples_per_second >= WORTH * one.examples_per_second else one


def fastest_alone(forecasts: Sequence[Forecast]) -> Forecast:
    """The fastest with one worker."""
    return max((f for f in forecasts if f.workers == 1), key=lambda f: f.examples_per_second)


def _possible(forecasts: Sequence[Forecast]) -> list[Forecast]:
    return [f for f in forecasts if not f.modelled and f.workers == f.processes]


def recommend(forecasts: Sequence[Forecast]) -> str:
    """The recommendation as one sentence."""
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
