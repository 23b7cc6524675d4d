"""Measures what the parts of a cell's rounds cost on this machine: the `costs` of results.json."""

import numpy as np

from psgd.config.resolve import chooses_on_validation
from psgd.config.settings import Settings
from psgd.data.dataset import Data
from psgd.group.group import Group
from psgd.group.serial import Serial
from psgd.jobs.build import build_job
from psgd.jobs.probe.probe import Bench, measure_machine, median_seconds, one_worker
from psgd.strategy.weights import ByDelay
from psgd.training.evaluation import Evaluator


def measure(settings: Settings, data: Data) -> dict[str, float]:
    """Measure in a second or two, on an idle machine. Seconds, each of one process alone:

    - `step`: a local step of one worker, the mean over a round
    - `leaf`, `apply`: reducing one contribution, applying the sum, over all parameters
    - `rest`: the loop itself, in a round
    - `meeting`: a meeting of two processes of one host
    - `score`: scoring the validation data, where the strategy chooses between `candidates` for the weights

    and `crowding`, by what share of its time each further process on this machine slows a process down; `candidates`
    (1 if there is nothing to choose); and `gathers`, all-gathers in a combination, beside that of the reports.
    """
    with np.errstate(all="ignore"):  # as in the loop
        bench = Bench(one_worker(settings), data)
        round, machine = bench.round(), measure_machine(bench, bench)
        job, most = build_job(settings, data), max(machine.slowdowns)
        costs = {
            "step": round.local / round.steps,
            "leaf": round.leaf,
            "apply": round.apply,
            "rest": round.rest,
            "crowding": (machine.slowdowns[most] - 1) / max(1, most - 1),
            "candidates": 1.0,
            "gathers": float(job.strategy.needs.norm),
        }
        if most > 1:
            costs["meeting"] = machine.exchange(2)
        weights, validation = job.strategy.weights, data.validation
        if isinstance(weights, ByDelay) and chooses_on_validation(settings) and validation:
            evaluator = Evaluator(job.learner, Group(Serial(), job.vectors), job.outputs)
            parameters = job.learner.initial(job.seed)
            costs["candidates"] = float(len(weights.contractions))
            costs["score"] = median_seconds(lambda: evaluator.score(parameters, validation))
    return costs
