"""What a run of a comparison did up to each evaluation, whatever the price: steps, combinations, bytes sent."""

from collections.abc import Mapping
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np

from psgd.strategy.plans import PacedPlan, exact_speeds


class Work(NamedTuple):
    """Steps are in those of a worker of speed 1."""

    rounds: np.ndarray
    critical: np.ndarray  # steps of the slowest worker of each round, summed over rounds
    mean: np.ndarray  # steps of a worker, the mean over workers
    uneven: np.ndarray  # rounds in which workers that worked took unequal numbers of steps


def work(cell: Mapping[str, Any], run: Mapping[str, Any]) -> Work:
    """The work of a run, from its rounds and the strategy's plan."""
    return _work(
        cell["strategy"] == "weighted-averaging",
        cell["period"] or 1,
        tuple(cell["speeds"]),
        tuple(run["series"].get("rounds", ())),
        max(run["worker_steps"], default=0) // max(1, run["rounds"]),
    )


def combinations(cell: Mapping[str, Any], run: Mapping[str, Any]) -> np.ndarray:
    """Return the combinations made up to each evaluation, as the run counted them. Where it did not, return as many as
    there can be: one a round and, in rounds whose weights are chosen among candidates, one more for each candidate,
    since the chosen one is combined again unless it was the last."""
    if (counted := run["series"].get("combinations")) is not None:
        return np.array(counted, np.int64)
    done, candidates = work(cell, run), int((cell["costs"] or {}).get("candidates", 1))
    return done.rounds + candidates * done.uneven if candidates > 1 else done.rounds


def sent(cell: Mapping[str, Any], run: Mapping[str, Any]) -> np.ndarray:
    """Bytes that one worker sent, if it is alone on its host: its contribution to each combination, unless it is the
    only worker."""
    return combinations(cell, run) * ((cell["message_bytes"] or 0) if cell["workers"] > 1 else 0)


@lru_cache(maxsize=4096)
def _work(weighted: bool, period: int | str, speeds: tuple[float, ...], rounds: tuple[int, ...], steps: int) -> Work:
    """`steps`: of the fastest worker in a round, which is the period if that is "end"."""
    at, exact = np.array(rounds, np.int64), exact_speeds(speeds, len(speeds))
    plan = PacedPlan(steps if isinstance(period, str) else period, exact)
    slow = np.array([float(1 / speed) for speed in exact])
    if not weighted:  # everyone takes as many steps as the fastest
        taken = float(plan.period) * at
        return Work(at, taken * slow.max(), taken * slow.mean(), np.zeros_like(at))
    dealt = _dealt(plan, int(at.max(initial=0)))
    seconds = dealt * slow[:, None]
    least = np.where(dealt > 0, dealt, dealt.max(axis=0)).min(axis=0)
    by_round = seconds.max(axis=0), seconds.mean(axis=0), dealt.max(axis=0) != least
    return Work(at, *(np.concatenate([[0], np.cumsum(each)])[at] for each in by_round))


def _dealt(plan: PacedPlan, rounds: int) -> np.ndarray:
    """(workers, rounds): the plan's steps of each worker in each round, in whole numbers."""
    taken: list[np.ndarray] = []
    for speed in plan.speeds:
        pace = plan.period * speed
        fits = pace.numerator * (rounds + 1) < 2**62  # speeds of many digits have large denominators
        numbers = np.arange(rounds + 1, dtype=np.int64 if fits else object)
        taken.append(np.diff(numbers * pace.numerator // pace.denominator).astype(np.int64))
    return np.array(taken)
