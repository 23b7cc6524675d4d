"""Measures in a few seconds whether a job should be parallelised, and forecasts its speed with other workers."""

import os
import time
from typing import NamedTuple

import numpy as np

from psgd.config.settings import GradientAveraging, ParameterAveraging, Settings
from psgd.core.wording import counted
from psgd.data.dataset import Data
from psgd.jobs.probe.bench import LIBRARY, Bench, measure_machine, one_worker
from psgd.jobs.probe.forecast import Forecast, Machine, Round, forecast, recommend, slowdown

BEYOND = (4, 8, 16)  # workers, and cores, of the forecasts for larger machines
BUSY = 0.7  # load (running programs) above which a warning is printed: measurements may be disturbed
SPEED_ALONE = "Speed alone: more workers take fewer, larger or averaged steps an epoch, and may need more epochs."


class Findings(NamedTuple):
    """The measurements and forecasts of a probe."""

    machine: Machine
    rounds: list[Round]
    forecasts: list[Forecast]
    batch: int
    parameters: int
    seconds: float  # taken by the probe
    load: float  # programs that were running before the probe


def probe(settings: Settings, data: Data) -> Findings:
    """Measure the job of `settings`, with one worker, and forecast other numbers of workers and strategies."""
    began, load = time.perf_counter(), os.getloadavg()[0]
    with np.errstate(all="ignore"):
        both = GradientAveraging(), settings.averaging or ParameterAveraging()
        benches = [Bench(one_worker(settings.replace(strategy=strategy)), data) for strategy in both]
        rounds = [bench.round() for bench in benches]
        machine = measure_machine(benches[-1], benches[0])
    job = benches[0].job
    forecasts = forecast_all(rounds, machine, job.batch, settings.worker_count)
    return Findings(machine, rounds, forecasts, job.batch, job.learner.size, time.perf_counter() - began, load)


def forecast_all(rounds: list[Round], machine: Machine, batch: int, wanted: int) -> list[Forecast]:
    """Forecast each strategy with 1, 2, 4, ... workers on a core each, up to all cores and beyond, and with `wanted`
    workers, as in the config, on the cores of this machine."""
    most = machine.cores
    counts = {2**i for i in range(most.bit_length())} | {most}
    places = [(n, n) for n in (*counts, *(n for n in BEYOND if n > most))]
    if wanted not in counts:
        places.append((wanted, min(wanted, most)))
    return [forecast(r, machine, batch, *place) for place in sorted(places) for r in rounds]


def lines(findings: Findings) -> list[str]:
    """Format the findings as lines of text: the measurements, the forecasts, and last the recommendation."""
    machine = findings.machine
    most = max(machine.exchanges)
    text = [
        f"Should this be parallelised? Probed for {findings.seconds:.1f} s: "
        f"{findings.parameters:,} parameters, {findings.batch} examples a step, {counted(machine.cores, 'core')}.",
        "Measured, milliseconds a round of one worker:",
    ]
    for r in findings.rounds:
        parts = f"work {ms(r.local)}, reduction {ms(r.leaf)} and apply {ms(r.apply)}, the loop itself {ms(r.rest)}"
        text.append(f"  {r.strategy}, {counted(r.steps, 'step')}: {parts}")
    if most > 1:
        steps, combinations = (slowdown(s, most) for s in (machine.slowdowns, machine.combination_slowdowns))
        text.append(
            f"Measured, {most} processes at once: a step takes {steps:.2f} times as long as alone, a combination "
            f"{combinations:.2f} times,"
        )
        text.append(f"  an exchange between them {machine.exchanges[most] * 1e6:.0f} microseconds,")
        text.append(f"  {LIBRARY * 1e6:.0f} of them assumed for MPI itself; across hosts it is more.")
    text += ["Forecast of examples/s, workers equally fast:", *_table(findings)]
    text.append(SPEED_ALONE)
    recommendation = f"Recommendation: {recommend(findings.forecasts)[1]}"
    if findings.load > BUSY:
        doubt = f"uncertain, since other programs were running (load {findings.load:.1f}): probe again when it is idle"
        recommendation = f"{recommendation} ({doubt})"
    return [*text, "", f"{recommendation}."]


def _table(findings: Findings) -> list[str]:
    names = [r.strategy for r in findings.rounds]
    rows = [f"  {'workers':>9}  {'cores':>5}" + "".join(f"  {name:>20}" for name in names)]
    places = dict.fromkeys((f.workers, f.processes, f.modelled) for f in findings.forecasts)
    for workers, processes, modelled in places:
        found = [f for f in findings.forecasts if (f.workers, f.processes) == (workers, processes)]
        numbers = "".join(f"  {f.examples_per_second:>20,.0f}" for f in found)
        rows.append(f"  {workers:>9}  {processes:>5}{numbers}" + ("  (modelled: more cores than here)" * modelled))
    return rows


def ms(seconds: float) -> str:
    return f"{seconds * 1e3:.3g}"
