"""Measures the parts of a round on this machine, with one worker: local steps, the reduction of one contribution, the
application of the sum, whole rounds of the loop, scoring; and how much several processes slow each other down."""

import statistics
import tempfile
import time
import timeit
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import final

import numpy as np

from psgd.config.settings import Averaging, Settings
from psgd.core.blocks import ApplyBlock
from psgd.core.clock import real_clock
from psgd.core.cores import cores
from psgd.core.replica import Progress, Replica
from psgd.data.dataset import Data, Examples
from psgd.group.group import Group
from psgd.group.serial import Serial
from psgd.jobs.build import build_job
from psgd.jobs.probe.concurrent import Barrier, ProcessWork, run_concurrently
from psgd.jobs.probe.forecast import ASSUMED_EXCHANGE, EXCHANGES, Machine, Round
from psgd.training.evaluation import Evaluator
from psgd.training.job import Job
from psgd.training.loop import Loop
from psgd.training.recorder import Recorder
from psgd.training.replica_holder import HostReplica
from psgd.training.steps.local_steps import LocalSteps

SECONDS = 0.12  # of one measurement, unless one repetition takes longer; raised, there is less noise
TOGETHER = 0.06  # seconds of one measurement of several processes at once; raised, there is less noise
TRIES = 3  # of measurements of several processes, of which the shortest counts; raised, other programs disturb less
TIMED_SECONDS = 0.03  # of steps that are timed together; raised, the clock and Python take a smaller part of them
LONG = 0.25  # seconds of a step beyond which the loop's own time is not measured but taken as 0
LIBRARY = 10e-6  # seconds that MPI adds to an exchange, measured once: the probe runs without MPI
# Multiplies the learning rate: the same work, but parameters do not move, whatever the rate and the scale of the data.
# What is subtracted from them must remain a normal number of float32 (from 1e-38): subnormal ones would be slow.
RATE_FACTOR = 1e-20


def one_worker(settings: Settings) -> Settings:
    """Settings of the job with one worker that does the same work, and does not diverge."""
    cluster, optimizer = settings.cluster.replace(speeds=None), settings.optimizer
    optimizer = optimizer.replace(learning_rate=RATE_FACTOR * optimizer.learning_rate)
    return settings.replace(cluster=cluster, optimizer=optimizer, workers=1)


def measure_machine(averaging: "Bench", synchronous: "Bench") -> Machine:
    """Measure slowdowns and exchanges on the cores of this process."""
    most = cores()
    counts = sorted(n for n in {2, 4, most} if 1 < n <= most)
    exchanges = {1: 0.0}
    for processes in counts:
        without, with_exchanges = (_shortest(processes, synchronous.rounds_with(n)) for n in (0, EXCHANGES))
        if without and with_exchanges:
            exchanges[processes] = LIBRARY + max(0.0, with_exchanges - without) / synchronous.round_count / EXCHANGES
    steps, combinations = (_slowdowns(counts, w) for w in (averaging.timed_steps, synchronous.timed_combination()))
    return Machine(most, steps, combinations, exchanges)


def slowdown_and_exchange(bench: "Bench") -> tuple[float, float]:
    """Measure (how many times longer a step takes if there is a process on each core, the seconds of an exchange of two
    processes). For a machine of several cores, in half a second."""
    most, steps = cores(), bench.timed_steps
    works = (1, steps), (most, steps), (2, bench.rounds_with(0)), (2, bench.rounds_with(EXCHANGES))
    # In turn, so that what other programs do for a while is not in all times of one of them.
    tries = [[run_concurrently(processes, work, TOGETHER) for processes, work in works] for _ in range(TRIES)]
    times = zip(*tries, strict=True)
    alone, together, without, with_exchanges = (min(filter(None, each), default=None) for each in times)
    slowdown = max(1.0, together / alone) if alone and together else 1.0
    if not without or not with_exchanges:
        return slowdown, ASSUMED_EXCHANGE
    return slowdown, LIBRARY + max(0.0, with_exchanges - without) / bench.round_count / EXCHANGES


def _slowdowns(counts: Sequence[int], work: ProcessWork) -> dict[int, float]:
    """How many times longer `work` takes if so many processes do it at once; for those that could be measured."""
    alone = _shortest(1, work) if counts else None
    together = {n: _shortest(n, work) for n in counts} if alone else {}
    return {1: 1.0} | {n: max(1.0, seconds / alone) for n, seconds in together.items() if seconds and alone}


def _shortest(processes: int, work: ProcessWork) -> float | None:
    """The shortest of some times: other programs can only add to it."""
    tries = [run_concurrently(processes, work, TOGETHER) for _ in range(TRIES)]
    return min((t for t in tries if t), default=None)


@final
class Bench:
    """Times the parts of a round of one strategy, with one worker in this process."""

    def __init__(self, settings: Settings, data: Data) -> None:
        self._settings = settings
        self._data = data._replace(test=None, validation=None)  # nothing is evaluated
        self.job = build_job(settings, self._data)
        group = Group(Serial(), self.job.vectors)
        self._local_steps = LocalSteps(self.job, group, real_clock, segment_seconds=1e9)
        self._replica = Replica(group.replicas[0], Progress(dealt=(0,), worker_steps=(0,)))
        self._replica.vectors[0] = self.job.learner.initial(self.job.seed)
        self._period = self.job.strategy.plan.steps(0)[0]
        self._local(1)  # twice before timing: the first call allocates buffers
        self._local(1)
        one = timeit.timeit(lambda: self._local(1), number=1)
        self._steps = max(1, min(self._period, int(TIMED_SECONDS / one)))
        self.round_count = max(1, min(20, int(TIMED_SECONDS / one)))  # of one step each, for `rounds_with`

    def timed_steps(self, barrier: Barrier) -> None:
        """Take local steps for about TIMED_SECONDS, without exchanges."""
        self._local(self._steps)

    def timed_combination(self) -> ProcessWork:
        """Work of one combination of two workers, by each process for itself."""
        combine = self._combined(2)
        return lambda barrier: combine()

    def rounds_with(self, exchanges: int) -> ProcessWork:
        """Work of several rounds, each of one step and `exchanges` barriers."""

        def work(barrier: Barrier) -> None:
            for _ in range(self.round_count):
                self._local(1)
                for _ in range(exchanges):
                    barrier()

        return work

    def round(self) -> Round:
        """Measure the parts of one round."""
        first = median_seconds(lambda: self._local(1))
        step = first
        if self._steps > 1:
            step = max(0.0, median_seconds(lambda: self._local(self._steps)) - first) / (self._steps - 1)
        leaf, apply = self._combination()
        expected = first + (self._steps - 1) * step + leaf + apply
        whole = self._whole_rounds(expected) if step < LONG else 0.0
        local, rest = first + (self._period - 1) * step, max(0.0, whole - expected)
        return Round(self._settings.strategy.name, self._period, local, leaf, apply, rest)

    def _local(self, steps: int) -> None:
        """Take `steps` local steps on the data that follow, which are not in the CPU's cache yet."""
        self._local_steps.restart_round()
        while self._local_steps.run(self._replica, (steps,))[0].steps_done < steps:
            pass
        progress = self._replica.progress
        self._replica.progress = progress._replace(position=progress.position + steps * self.job.batch)

    def _combination(self) -> tuple[float, float]:
        """Measure the seconds of (reducing one contribution, applying the sum), over all parameters."""
        two, four = (median_seconds(self._combined(workers)) for workers in (2, 4))
        leaf = min(two / 2, max(0.0, (four - two) / 2))
        return leaf, two - 2 * leaf

    def _combined(self, workers: int) -> Callable[[], None]:
        """Return a call that makes a combination of so many workers."""
        job = build_job(self._settings.replace(workers=workers), self._data)
        group, strategy = Group(Serial(), job.vectors), job.strategy
        for worker in range(workers):
            group.contribution(worker)[:] = self._replica.parameters
        old, new = (Replica(vectors, Progress(steps=1)) for vectors in group.replicas)
        old.vectors[0] = self._replica.parameters
        weights = np.full(workers, 1 / workers)

        def begin(squared_norm: float) -> ApplyBlock:
            return strategy.application.begin(old, new, 0.0, squared_norm)

        return lambda: group.combine(weights, begin, strategy.needs.norm)

    def _whole_rounds(self, expected: float) -> float:
        """Measure the seconds of a round of the loop, with exchanges and combination. `expected`: an estimate."""
        rounds = max(2, min(1000, int(SECONDS / expected)))
        settings, steps = self._settings, self._steps
        if isinstance(settings.strategy, Averaging):
            settings = settings.replace(strategy=settings.strategy.replace(period=steps))
        job = build_job(settings, self._data)
        epochs = rounds * steps * job.batch / job.sampler.examples
        job = replace(job, learner=self.job.learner, epochs=epochs, evaluate_every=epochs, target=None)
        times: list[float] = []
        for _ in range(3):
            with tempfile.TemporaryDirectory(prefix="psgd-probe-") as directory:  # writing metrics takes time too
                recorder = Recorder(Path(directory), job.sampler.examples, epochs, "probe", quiet=True)
                loop = Loop(job, Serial(), recorder, segment_seconds=1e9)
                done = loop.run().progress.round
                times.append(loop.stopwatch.train_seconds / done)
        return min(times)


def median_seconds(act: Callable[[], object]) -> float:
    """The median seconds of as many calls as fit into SECONDS, after one that is not counted."""
    timer = timeit.Timer(act)
    timer.timeit(1)
    times: list[float] = []
    began = time.perf_counter()
    while not times or (time.perf_counter() - began < SECONDS and len(times) < 1000):
        times.append(timer.timeit(1))
    return statistics.median(times)


def score_seconds(job: Job, part: Examples) -> float:
    """The median seconds of one process that scores a part of the data with parameters of the job."""
    group = Group(Serial(), job.vectors)
    evaluator = Evaluator(group, HostReplica(job, group))
    replica = Replica(job.learner.initial(job.seed)[np.newaxis])
    with np.errstate(all="ignore"):  # as in the loop
        return median_seconds(lambda: evaluator.score(replica, part))
