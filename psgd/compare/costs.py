"""Measures what the parts of a cell's rounds cost on this machine: the `costs` of results.json."""

import numpy as np

from psgd.config.resolve import chooses_on_validation
from psgd.config.settings import Settings
from psgd.data.dataset import Data
from psgd.jobs.build import build_job
from psgd.jobs.probe.bench import Bench, measure_machine, one_worker, score_seconds
from psgd.strategy.weights import ByDelay


def measure(settings: Settings, data: Data) -> dict[str, float]:
    """Measure in a second or two, on an idle machine. Seconds, each of one process alone:

    - `step`: a local step of one worker, the mean over a round
    - `leaf`, `apply`: reducing one contribution, applying the sum, over all parameters
    - `rest`: the loop itself, in a round
    - `meeting`: a barrier, or an exchange of reports, of two processes of one host

    and `crowding`, the contention: by what share of its time each further process on this machine slows a process down;
    and `gathers`, all-gathers in a combination, beside that of the reports.
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
            "gathers": float(job.strategy.needs.norm),
        }
        if most > 1:
            costs["meeting"] = machine.exchange(2)
    return costs


def measure_choice(settings: Settings, data: Data) -> dict[str, float]:
    """Measure what choosing among weights costs: `candidates` and, where there are several, the seconds of one process
    that `score`s the validation data with one of them."""
    job = build_job(settings, data)
    weights, validation = job.strategy.weights, data.validation
    if not (isinstance(weights, ByDelay) and chooses_on_validation(settings) and validation):
        return {"candidates": 1.0}
    return {"candidates": float(len(weights.contractions)), "score": score_seconds(job, validation)}
