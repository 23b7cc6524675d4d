"""Times to a target of several seeds."""

import math

import numpy as np

from psgd.compare.analysis.crossing import Crossing


def exact(*times):
    """Times known exactly, of seeds 0, 1, ..."""
    return {seed: Crossing(time, time, True) for seed, time in enumerate(times)}


def until(budget, *times):
    """Times known exactly, censored at the budget."""
    return {seed: Crossing(min(t, budget), min(t, budget), t <= budget) for seed, t in enumerate(times)}


def rounded(step, *times):
    """Times rounded up to evaluations."""
    ends = [math.ceil(time / step) for time in times]
    return {seed: Crossing((end - 1) * step, end * step, True) for seed, end in enumerate(ends)}


def lognormal(n, sigma, seed):
    """A function that draws n times with the median 1."""
    random = np.random.default_rng(seed)
    return lambda: random.lognormal(0, sigma, n).tolist()


def same(n, low, high):
    return dict.fromkeys(range(n), Crossing(low, high, True))
