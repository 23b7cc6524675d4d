"""Says how workers that take turns in one process could run in parallel, if that would be faster, and of those that run
in parallel, if it is not."""

import math
import timeit

import numpy as np

from psgd.config.settings import Averaging
from psgd.core.cores import cores
from psgd.data.user_arrays import UserArrays
from psgd.jobs.fit.task import Task

# Seconds of a call of gradient below which threads do not gain. Measured: with two threads, calls of 0.3 ms took 1.9
# times as long as in turns, because Python code of two threads waits for one lock; calls of 1 ms half as long.
WORTH_A_THREAD = 0.6e-3
# Seconds of a worker's part of a round below which processes do not gain: about what a round costs beside it.
WORTH_A_PROCESS = 0.1e-3  # under MPI, on one host
WORTH_AN_ACTOR = 4e-3  # on Ray
DOUBT = "threads or processes that do not pay"  # what a doubt is about: it is said once, with other times each time


def advice(task: Task, call_seconds: float) -> str:
    """Return a sentence for people. `call_seconds`: of gradient, with one batch."""
    workers, round_seconds = task.settings.worker_count, _round_seconds(task, call_seconds)
    turns = f"psgd: {workers} workers take turns in this one process"
    if cores() == 1:
        return f"{turns}, which has one core"
    script = f"mpirun -n {min(workers, cores())} python script.py"
    if call_seconds >= WORTH_A_THREAD:
        threads = "group='threads' (if gradient keeps nothing between calls)"
        return f"{turns}; to run them in parallel, use {threads} or {script}"
    if round_seconds >= WORTH_A_PROCESS:
        return f"{turns}; {script} runs them in parallel (calls of gradient are too short to gain from threads)"
    return f"{turns}: calls of gradient are too short to gain from running them in parallel"


def doubt(task: Task) -> str | None:
    """Return a sentence for people where threads or processes, which they have chosen, do not pay; else None."""
    group = task.settings.group
    if group == "serial" or task.settings.worker_count == 1:
        return None
    seconds = call_seconds(task)
    round_seconds = _round_seconds(task, seconds)
    if group == "threads" and seconds < WORTH_A_THREAD:
        better = "mpirun may be faster" if round_seconds >= WORTH_A_PROCESS else "group='serial' may be faster"
        return f"psgd: calls of gradient take {_milliseconds(seconds)}, too short to gain from threads; {better}"
    if group != "threads" and round_seconds < (WORTH_AN_ACTOR if group == "ray" else WORTH_A_PROCESS):
        return (
            f"psgd: the processes exchange something after every {_milliseconds(round_seconds)} of computing, which is "
            "too often to gain from several: one may be faster. Larger batches, or parameter-averaging with a longer "
            "period, exchange less often"
        )
    return None


def _round_seconds(task: Task, call_seconds: float) -> float:
    """How long a worker computes between two combinations."""
    strategy = task.settings.strategy
    steps = strategy.period if isinstance(strategy, Averaging) else 1
    return (math.inf if steps == "end" else steps) * call_seconds


def _milliseconds(seconds: float) -> str:
    return f"{1000 * seconds:.1g} ms"


def call_seconds(task: Task) -> float:
    """Measure gradient with one batch: the shortest of three calls, after one that is not counted."""
    learner, out = task.learner(), np.empty_like(task.start)
    batch = task.data.train.take(slice(task.settings.training.batch_size_per_worker))
    assert isinstance(batch, UserArrays)
    return min(timeit.repeat(lambda: learner.evaluate(task.start, batch.X, batch.y, out), number=1, repeat=4)[1:])
