"""Estimates how long runs take on this machine, from short measurements of the work that they consist of."""

import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from math import ceil
from pathlib import Path
from typing import NamedTuple, final

import numpy as np

from psgd.backends.blas import limit_after_numpy
from psgd.compare.cost_cache import TRIES, averaging_work, common_work, work_key
from psgd.compare.costs import measure_contention
from psgd.compare.runs import SERIAL
from psgd.config.resolve import chooses_on_validation, dump
from psgd.config.settings import GradientAveraging, Settings
from psgd.core.cores import cores
from psgd.core.errors import PsgdError
from psgd.core.files import write_text
from psgd.data.dataset import Data
from psgd.data.sources.load import load_data
from psgd.jobs.build import build_job
from psgd.jobs.choose.group import choose_group, thread_count
from psgd.jobs.probe.bench import Bench, one_worker, score_seconds
from psgd.jobs.probe.forecast import ASSUMED_EXCHANGE, EXCHANGES, Round
from psgd.strategy.weights import ByDelay

ROUNDS = 16  # over which the steps of a round are averaged, if they differ


class Measured(NamedTuple):
    """Seconds of the parts of a run, whatever the number of its workers."""

    round: Round
    validation: float  # scoring the validation data
    test: float
    measuring: float  # what it took to measure these


class Contention(NamedTuple):
    slowdown: float  # how many times longer a step takes if there is a process on each core
    measuring: float


@final
class TimeEstimator:
    """Measures each kind of work once, in about a second."""

    def __init__(self, base: Settings) -> None:
        """`base`: settings of a run that can be trained, by which starting and contention are measured."""
        self._base = base
        self._kinds: dict[str, Measured] = {}
        self._data: dict[str, Data] = {}
        self._start: float | None = None
        self._machine: Contention | None = None

    def costs(self, all_settings: Sequence[Settings]) -> float:
        """Seconds that measuring the costs of these settings takes, once their runs have ended."""
        kinds = {work_key(common): common for common in map(common_work, all_settings)}
        measured = [self._kinds[key].measuring for common in kinds.values() if (key := _kind(common)) in self._kinds]
        if not measured:
            return 0.0
        networks = {work_key(averaging_work(settings)) for settings in all_settings}
        return TRIES * sum(measured) + len(networks) * self._contention().measuring

    def run(self, settings: Settings, alone: bool) -> float:
        """Seconds of a run from the start of its process to its end: in one process, or, if it is `alone`, with the
        group of its settings. PsgdError if the run cannot be built."""
        if self._start is None:
            self._start = _start_seconds(self._base)
        kind, data = self._measured(settings), self._load(settings)
        job, workers = build_job(settings, data), settings.worker_count
        processes = _processes(settings) if alone else 1
        steps = sum(sum(job.strategy.plan.steps(t)) for t in range(ROUNDS)) / ROUNDS
        rounds = max(1.0, job.end / max(1e-9, steps * job.batch))
        step, score = kind.round.local / kind.round.steps, kind.validation / processes
        combination = (workers * kind.round.leaf + kind.round.apply) / processes
        weights, combinations = job.strategy.weights, combination
        if isinstance(weights, ByDelay) and chooses_on_validation(settings):
            combinations += len(weights.contractions) * (combination + score)
        exchanges = EXCHANGES * ASSUMED_EXCHANGE * (processes > 1)
        hosted = ceil(workers / processes) / workers  # share of the steps in the process that has most of them
        training = rounds * (hosted * steps * step + combinations + kind.round.rest + exchanges)
        evaluations = 1 + ceil(job.epochs / job.evaluate_every)
        return self._start + training + evaluations * (score + kind.test / processes)

    def slowdown(self) -> float:
        """How many times longer runs take if there is one on each core, because they share memory and clock rate."""
        return self._contention().slowdown

    def _contention(self) -> Contention:
        if self._machine is None:
            began, settings = time.perf_counter(), averaging_work(self._base)
            contention = measure_contention(settings, self._load(settings))["contention"]
            self._machine = Contention(1 + contention * (cores() - 1), time.perf_counter() - began)
        return self._machine

    def _measured(self, settings: Settings) -> Measured:
        key, settings = _kind(settings), one_worker(common_work(settings))
        if key not in self._kinds:
            limit_after_numpy()
            began, data = time.perf_counter(), self._load(settings)
            with np.errstate(all="ignore"):  # as in the loop
                bench = Bench(settings, data)
                round = bench.round()
            validation, test = (
                score_seconds(bench.job, part) if part else 0.0 for part in (data.validation, data.test)
            )
            self._kinds[key] = Measured(round, validation, test, time.perf_counter() - began)
        return self._kinds[key]

    def _load(self, settings: Settings) -> Data:
        key = settings.data.model_dump_json()
        if key not in self._data:
            self._data[key] = load_data(settings)
        return self._data[key]


def _kind(settings: Settings) -> str:
    return work_key(one_worker(common_work(settings)))


def _processes(settings: Settings) -> int:
    group = choose_group(settings)[0] if settings.group == "auto" else settings.group
    return thread_count(settings) if group in ("threads", "ray") else 1


def _start_seconds(settings: Settings) -> float:
    """Seconds of a run of a single step: of starting Python, reading the data, and writing files."""
    training = settings.training.replace(epochs=1e-9, evaluate_every=1e-9)
    shortest = settings.replace(training=training, strategy=GradientAveraging(), workers=1)
    shortest = shortest.replace(cluster=settings.cluster.replace(speeds=None))
    with tempfile.TemporaryDirectory(prefix="psgd-estimate-") as directory:
        config = Path(directory, "run.yaml")
        write_text(config, dump(shortest))
        command = [sys.executable, "-m", "psgd.train", str(config), *SERIAL, "--quiet"]
        began = time.perf_counter()
        done = subprocess.run(
            [*command, "--output", str(Path(directory, "run"))],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
        )
        if done.returncode:
            raise PsgdError((done.stderr.strip().splitlines() or ["a run of one step failed"])[-1])
        return time.perf_counter() - began
