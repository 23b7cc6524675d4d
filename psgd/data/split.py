"""Setting validation data aside. Does not know what they are for."""

import numpy as np

from psgd.data.dataset import Examples
from psgd.errors import UsageError
from psgd.streams import stream


def hold_out(train: Examples, fraction: float, seed: int) -> tuple[Examples, Examples]:
    """Split `train` into (training, validation): round(fraction * N) random rows, at least one, are set aside.

    Both keep the stored order. UsageError unless both get an example.
    """
    if not 0 < fraction < 1:
        raise UsageError(f"data.validation is {fraction}; expected a fraction above 0 and below 1 to set aside")
    held = max(1, round(fraction * len(train)))
    if held >= len(train):
        raise UsageError(f"data.validation {fraction} of {len(train)} examples leaves none to train on; lower it")
    order = stream(seed, "hold-out").permutation(len(train))
    return train.take(np.sort(order[held:])), train.take(np.sort(order[:held]))
