"""Batches, parameters and losses for tests of learners."""

import numpy as np

from psgd.learners.learner import Batch
from psgd.learners.losses import LOSSES, Loss, huber

FLOAT32, FLOAT64 = np.dtype(np.float32), np.dtype(np.float64)
THRESHOLD = 0.4  # Huber's, small enough that both of its branches occur
SEED = 2  # for which no relu is 0 on all examples


def loss_of(name: str) -> Loss:
    return huber(THRESHOLD) if name == "huber" else LOSSES[name]


def some_batch(features: int, outputs: int, examples: int, classes: bool, seed: int = 0) -> Batch:
    draw = np.random.Generator(np.random.Philox(seed))
    X_BI = np.ones((examples, features + 1))
    X_BI[:, :-1] = draw.normal(size=(examples, features))
    if not classes:
        T_BO = draw.normal(size=(examples, outputs))
    elif outputs == 1:
        T_BO = draw.integers(0, 2, (examples, 1)).astype(np.float64)
    else:
        T_BO = np.eye(outputs)[draw.integers(0, outputs, examples)]
    return Batch(X_BI, T_BO, 0.0)


def some_parameters(size: int, seed: int = SEED) -> np.ndarray:
    return np.random.Generator(np.random.Philox(seed)).normal(scale=0.7, size=size)


WIDE = (300, 120, 30, 3)  # most weights are the first layer's: outputs of many examples lie in memory by example
