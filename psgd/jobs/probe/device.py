"""Measures in a few seconds how many workers should train side by side on a GPU.

Measured on the first GPU, for several numbers of workers: local steps, a combination, and whole rounds of the loop; and
an evaluation. No processes are started: they could not use the GPU that this one has opened.
"""

import tempfile
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np

from psgd.backends.device_workers import DeviceWorkers
from psgd.config.settings import Averaging, GradientAveraging, ParameterAveraging, Settings
from psgd.core.clock import real_clock
from psgd.core.errors import UsageError
from psgd.core.replica import Progress
from psgd.core.wording import counted
from psgd.data.dataset import Data
from psgd.group.failure import Agreement
from psgd.group.group import Group
from psgd.group.serial import Serial
from psgd.jobs.build import build_job
from psgd.jobs.choose.device import MOST_COMBINED, with_device
from psgd.jobs.choose.gpus import count_gpus
from psgd.jobs.probe.bench import SECONDS, TIMED_SECONDS, median_seconds, one_worker
from psgd.jobs.probe.forecast import Forecast, choose
from psgd.jobs.probe.probe import SPEED_ALONE, ms
from psgd.strategy.applications import GradientStep
from psgd.training.evaluation import Evaluator
from psgd.training.job import Job
from psgd.training.loop import Loop
from psgd.training.recorder import Recorder
from psgd.training.steps.local_steps import LocalSteps

WORKERS = (1, 2, 4, 8)


class DeviceRound(NamedTuple):
    """The costs of a round of all workers, in seconds."""

    strategy: str
    workers: int
    steps: int  # of a worker
    local: float  # the local steps of all workers, side by side
    combination: float
    rest: float  # the loop itself
    evaluation: float  # of all data that are scored

    def examples_per_second(self, batch: int) -> float:
        return self.workers * self.steps * batch / (self.local + self.combination + self.rest)


class DeviceFindings(NamedTuple):
    """The measurements of a probe."""

    name: str  # of the device
    gpus: int
    rounds: list[DeviceRound]
    refused: list[str]  # what does not fit
    batch: int
    parameters: int
    scored: int  # examples of an evaluation
    seconds: float  # taken by the probe


def probe_device(settings: Settings, data: Data) -> DeviceFindings | None:
    """Measure the job of `settings` on a GPU with several numbers of workers; None if `device: auto` takes none.
    UsageError if device is cuda and it cannot be used."""
    began, rounds, refused = time.perf_counter(), [], []
    counts, job = sorted({*WORKERS, min(settings.worker_count, MOST_COMBINED)}), None
    with np.errstate(all="ignore"):
        for strategy in GradientAveraging(), settings.averaging or ParameterAveraging():
            own = one_worker(settings.replace(strategy=strategy))
            job = None  # and with it the data on the GPU, which may have no room for them twice
            job = with_device(build_job(own, data), Serial(), 0, Agreement(Serial()))
            if job.device is None:
                return None
            for workers in counts:
                try:
                    rounds.append(_measure(own.replace(workers=workers), data, job.device))
                except UsageError as error:  # nor do more workers fit
                    refused.append(f"{counted(workers, 'worker')} by {own.strategy.name}: {error}")
                    break
    assert job
    assert job.device
    scored = sum(map(len, data.scored.values()))
    about = job.device.name, count_gpus(settings)[0], rounds, refused, job.batch, job.learner.size, scored
    return DeviceFindings(*about, time.perf_counter() - began)


def device_lines(findings: DeviceFindings) -> list[str]:
    """Format the findings as lines of text: the measurements, and last the recommendation."""
    rounds, batch = findings.rounds, findings.batch
    text = [
        f"How many workers should train side by side on this GPU? Probed for {findings.seconds:.1f} s: "
        f"{findings.parameters:,} parameters, {batch} examples a step, {findings.name}.",
        "Measured, milliseconds a round:",
    ]
    for r in rounds:
        work = f"work {ms(r.local)}" + f" ({ms(r.local / r.steps)} a step)" * (r.steps > 1)
        parts = f"{work}, combination {ms(r.combination)}, the loop itself {ms(r.rest)}"
        text.append(f"  {r.strategy}, {counted(r.steps, 'step')}, {counted(r.workers, 'worker')}: {parts}")
    if findings.scored:
        text.append(f"Measured, an evaluation of {findings.scored:,} examples: {ms(rounds[0].evaluation)} ms.")
    text += ["Measured, examples/s:", *_table(rounds, batch)]
    text += [f"  (not measured: {line})" for line in findings.refused]
    if findings.gpus > 1:
        text.append(f"mpirun -n {findings.gpus} trains on all {findings.gpus} GPUs of this host; that is not measured.")
    forecasts = [Forecast(r.strategy, r.workers, 1, r.examples_per_second(batch), False) for r in rounds]
    _, recommendation = choose(forecasts, [f for f in forecasts if f.workers > 1], "no more fit")
    return [*text, SPEED_ALONE, "", f"Recommendation: {recommendation}."]


def _table(rounds: Sequence[DeviceRound], batch: int) -> list[str]:
    speeds = {(r.strategy, r.workers): f"{r.examples_per_second(batch):,.0f}" for r in rounds}
    names, counts = (list(dict.fromkeys(key)) for key in zip(*speeds, strict=True))
    rows = [f"  {'workers':>9}" + "".join(f"  {name:>20}" for name in names)]
    for workers in counts:
        rows.append(f"  {workers:>9}" + "".join(f"  {speeds.get((name, workers), '-'):>20}" for name in names))
    return rows


def _measure(settings: Settings, data: Data, device: DeviceWorkers) -> DeviceRound:
    """UsageError if so many workers do not fit."""
    job = replace(build_job(settings, data), device=device, open_device=None, combines_on_devices=True)
    group, workers, period = Group(Serial(), job.vectors), job.workers, job.strategy.plan.steps(0)[0]
    local_steps = LocalSteps(job, group, real_clock, segment_seconds=1e9)
    nothing = (0,) * workers
    replica = local_steps.holder.replicas().now
    replica.progress = Progress(dealt=nothing, worker_steps=nothing)
    replica.vectors[0] = job.learner.initial(job.seed)

    def local(steps: int) -> None:
        local_steps.restart_round()
        while min(report.steps_done for report in local_steps.run(replica, (steps,) * workers)) < steps:
            pass
        position = replica.progress.position + workers * steps * job.batch
        replica.progress = replica.progress._replace(position=position)

    weights, application = np.full(workers, 1 / workers, job.learner.dtype), job.strategy.application
    factors = application.optimizer.factors(1, 0.0) if isinstance(application, GradientStep) else None

    def combine() -> None:
        device.reduce(weights)
        if factors:
            device.apply(factors)
        device.wait()

    local(1)  # before timing: kernels are loaded, and graphs captured
    first = step = median_seconds(lambda: local(1))
    steps = max(1, min(period, int(TIMED_SECONDS / first)))
    if steps > 1:
        step = max(0.0, median_seconds(lambda: local(steps)) - first) / (steps - 1)
    combination, evaluation = median_seconds(combine), 0.0
    if data.scored:
        evaluator = Evaluator(group, local_steps.holder)
        evaluation = median_seconds(lambda: evaluator.scores(replica, data))
    expected = first + (steps - 1) * step + combination
    rest = max(0.0, _whole_round(settings, job, steps, expected) - expected)
    return DeviceRound(
        *(settings.strategy.name, workers, period, first + (period - 1) * step, combination, rest, evaluation)
    )


def _whole_round(settings: Settings, job: Job, steps: int, expected: float) -> float:
    """The seconds of a round of the loop. `expected`: an estimate."""
    rounds = max(2, min(1000, int(SECONDS / expected)))
    if isinstance(settings.strategy, Averaging):
        shorter = build_job(settings.replace(strategy=settings.strategy.replace(period=steps)), job.data)
        job = replace(job, strategy=shorter.strategy)
    epochs = rounds * job.workers * steps * job.batch / job.sampler.examples
    job = replace(job, epochs=epochs, evaluate_every=epochs, target=None, early_stop=None)
    times: list[float] = []
    for _ in range(2):
        with tempfile.TemporaryDirectory(prefix="psgd-probe-") as directory:
            recorder = Recorder(Path(directory), job.sampler.examples, epochs, "probe", quiet=True)
            loop = Loop(job, Serial(), recorder, segment_seconds=1e9)
            done = loop.run().progress.round
            times.append(loop.stopwatch.train_seconds / done)
    return min(times)
