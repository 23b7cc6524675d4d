"""Splitting validation data off the training data."""

import numpy as np

from psgd.core.errors import UsageError
from psgd.core.random_streams import stream
from psgd.data.dataset import Examples


def hold_out(train: Examples, fraction: float, seed: int) -> tuple[Examples, Examples]:
    """Split `train` into (training, validation) by `held_out`. UsageError unless both get an example."""
    kept, held = held_out(len(train), fraction, seed)
    return train.take(kept), train.take(held)


def held_out(examples: int, fraction: float, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Choose round(fraction * examples) random rows, at least one, for validation. Returns (training rows, validation
    rows), each sorted. UsageError unless both have a row."""
    if not 0 < fraction < 1:
        raise UsageError(f"data.validation is {fraction}; expected a fraction above 0 and below 1 to set aside")
    held = max(1, round(fraction * examples))
    if held >= examples:
        raise UsageError(f"data.validation {fraction} of {examples} examples leaves none to train on; lower it")
    order = stream(seed, "hold-out").permutation(examples)
    return np.sort(order[held:]), np.sort(order[:held])
