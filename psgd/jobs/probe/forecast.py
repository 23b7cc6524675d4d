"""Forecasts how fast a job would be with other numbers of workers and strategies, from measured costs.

The seconds of a round on n processes with h workers each, w = h n in all:

    h local s(n) + (w leaf + apply) c(n) / n + rest + EXCHANGES exchange(n)

where s(n) is how many times longer local steps take when n processes do them at once, because they share memory
bandwidth and the clock rate of the CPU, and c(n) the same of combinations, which are limited by the bandwidth.
"""

from collections.abc import Mapping, Sequence
from math import ceil, log2
from typing import NamedTuple

import numpy as np

EXCHANGES = 2  # in a round: the reports, and the barrier after the combination
WORTH = 1.1  # speed relative to one worker; below it, more processes are not recommended
ASSUMED_EXCHANGE = (
    5e-6  # seconds of an exchange between two processes, for a machine of one core that cannot measure it
)


class Round(NamedTuple):
    """The costs of one round of a strategy, in seconds of a single process."""

    strategy: str
    steps: int  # of a worker
    local: float  # the local steps of one worker
    leaf: float  # reducing one contribution, over all parameters
    apply: float  # applying the sum, over all parameters
    rest: float  # the loop itself


class Machine(NamedTuple):
    """How processes that run at once affect each other: measured from 1 process (1.0 and 0.0) to one for each core, in
    ascending order."""

    cores: int
    slowdowns: Mapping[int, float]  # processes -> s(n)
    combination_slowdowns: Mapping[int, float]  # processes -> c(n)
    exchanges: Mapping[int, float]  # processes -> seconds of one exchange

    def exchange(self, processes: int) -> float:
        """Seconds of an exchange; beyond the measured numbers of processes they grow with log2 of the number."""
        most = max(self.exchanges)
        if processes <= most:
            return _interpolate(self.exchanges, processes)
        if most == 1:
            return ASSUMED_EXCHANGE * log2(processes)
        return self.exchanges[most] * log2(processes) / log2(most)


def slowdown(measured: Mapping[int, float], processes: int) -> float:
    """s(n) or c(n); beyond the measured numbers of processes, on the line through the first and the last."""
    most = max(measured)
    if 1 < most < processes:
        return 1.0 + (measured[most] - 1.0) * (processes - 1) / (most - 1)
    return _interpolate(measured, processes)


def _interpolate(known: Mapping[int, float], at: int) -> float:
    return float(np.interp(at, list(known), list(known.values())))


class Forecast(NamedTuple):
    strategy: str
    workers: int
    processes: int
    examples_per_second: float
    modelled: bool  # for more cores than this machine has


def forecast(round: Round, machine: Machine, batch: int, workers: int, processes: int) -> Forecast:
    """Forecast the speed of a job; `batch`: the examples of one worker's step."""
    local = ceil(workers / processes) * round.local * slowdown(machine.slowdowns, processes)
    alone = (workers * round.leaf + round.apply) / processes
    combination = alone * slowdown(machine.combination_slowdowns, processes)
    seconds = local + combination + round.rest + EXCHANGES * machine.exchange(processes)
    examples = workers * round.steps * batch
    return Forecast(round.strategy, workers, processes, examples / seconds, processes > machine.cores)


def recommend(forecasts: Sequence[Forecast]) -> tuple[Forecast, str]:
    """Choose the fastest forecast with a core for each worker, or one worker if that is less than WORTH times as fast.
    Returns (the recommended forecast, the recommendation as one sentence)."""
    several = [f for f in forecasts if not f.modelled and f.workers == f.processes > 1]
    return choose(forecasts, several, "there is one core")


def choose(forecasts: Sequence[Forecast], several: Sequence[Forecast], none: str) -> tuple[Forecast, str]:
    """Choose among those of `several` workers, or one, as `recommend` does. `none`: why there are no others."""

    def speed(forecast: Forecast) -> float:
        return forecast.examples_per_second

    one = max((f for f in forecasts if f.workers == 1), key=speed)
    if not several:
        return one, f"one worker is fastest here: {none}"
    most = max(several, key=speed)
    gain = speed(most) / speed(one)
    if gain >= WORTH:
        return most, f"{most.workers} workers by {most.strategy}: {gain:.1f} times one"
    return one, (
        f"one worker is fastest for this network: {most.workers} by {most.strategy} would be {gain:.2f} times as fast"
    )
