"""Data for the estimators."""

import numpy as np


def blobs(classes: int = 3, examples: int = 120) -> tuple[np.ndarray, np.ndarray]:
    draw = np.random.default_rng(0)
    y = np.arange(examples) % classes
    return draw.normal(size=(examples, 5)) + 2 * np.eye(5)[y], y


def curved(outputs: int = 1, examples: int = 120) -> tuple[np.ndarray, np.ndarray]:
    X = np.random.default_rng(1).normal(size=(examples, 4))
    Y = np.stack([X[:, 0] * X[:, 1], np.sin(X[:, 2])], axis=1)
    return X, Y[:, 0] if outputs == 1 else Y
