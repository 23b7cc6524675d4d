"""Measures what the parts of a cell's rounds cost on this machine: the `costs` of results.json."""

import numpy as np

from psgd.config.resolve import chooses_on_validation
from psgd.config.settings import Settings
from psgd.core.cores import cores
from psgd.data.dataset import Data
from psgd.jobs.build import build_job
from psgd.jobs.probe.bench import Bench, one_worker, score_seconds, slowdown_and_exchange
from psgd.strategy.weights import ByDelay


def measure(settings: Settings, data: Data) -> dict[str, float]:
    """Measure in half a second, on an idle machine. Seconds, each of one process alone:

    - `step`: a local step of one worker, the mean over a round
    - `leaf`, `apply`: reducing one contribution, applying the sum, over all parameters
    - `rest`: the loop itself, in a round

    and `gathers`, all-gathers in a combination, beside that of the reports.
    """
    with np.errstate(all="ignore"):  # as in the loop
        round = Bench(one_worker(settings), data).round()
    gathers = float(build_job(settings, data).strategy.needs.norm)
    return {
        "step": round.local / round.steps,
        "leaf": round.leaf,
        "apply": round.apply,
        "rest": round.rest,
        "gathers": gathers,
    }


def measure_contention(settings: Settings, data: Data) -> dict[str, float]:
    """Measure how processes of this machine affect each other, in half a second: `contention`, by what share of its
    time each further one slows a process down, and `barrier`, seconds of a barrier, or an exchange of reports, of two
    of them."""
    most = cores()
    if most == 1:
        return {"contention": 0.0}
    with np.errstate(all="ignore"):
        slowdown, exchange = slowdown_and_exchange(Bench(one_worker(settings), data))
    return {"contention": (slowdown - 1) / (most - 1), "barrier": exchange}


def measure_choice(settings: Settings, data: Data) -> dict[str, float]:
    """Measure what choosing among weights costs: `candidates` and, where there are several, the seconds of one process
    that `score`s the validation data with one of them."""
    job = build_job(settings, data)
    weights, validation = job.strategy.weights, data.validation
    if not (isinstance(weights, ByDelay) and chooses_on_validation(settings) and validation):
        return {"candidates": 1.0}
    return {"candidates": float(len(weights.contractions)), "score": score_seconds(job, validation)}
