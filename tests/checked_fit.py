"""A gradient that the check of psgd.fit passes, and calls of psgd.fit with it."""

import numpy as np

import psgd

RANDOM = np.random.default_rng(0)
X = RANDOM.normal(size=(60, 5))
Y = (X @ RANDOM.normal(size=5) > 0).astype(float)
START = {"W": RANDOM.normal(size=(5, 4)), "b": np.zeros(4), "V": RANDOM.normal(size=(4, 1)), "c": np.zeros(1)}


def right(p, X, y):
    hidden = np.tanh(X @ p["W"] + p["b"])
    answer = (hidden @ p["V"] + p["c"])[:, 0]
    delta = ((answer - y) / len(X))[:, None]
    before = (delta @ p["V"].T) * (1 - hidden**2)
    gradient = {"W": X.T @ before, "b": before.sum(axis=0), "V": hidden.T @ delta, "c": delta.sum(axis=0)}
    return gradient, 0.5 * np.mean((answer - y) ** 2)


def scaled(factor, loss_factor=1.0, leaves="WbVc", returns_loss=True):
    """Return the right function, but for factors of some leaves and of the loss; a factor "n" is the number of rows."""

    def gradient(p, X, y):
        found, loss = right(p, X, y)
        by = {"n": len(X), "1/n": 1 / len(X)}.get(factor, factor)
        found = {name: array * by if name in leaves else array for name, array in found.items()}
        return (found, loss * (len(X) if loss_factor == "n" else loss_factor)) if returns_loss else found

    return gradient


def fit(gradient, parameters=START, dataset=(X, Y), **arguments):
    return psgd.fit(
        gradient, parameters, dataset, **{"workers": 1, "batch_size_per_worker": 10, "period": 1} | arguments
    )
