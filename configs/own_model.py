"""Your own numpy network on several workers: the network stays as it is; psgd replaces the loop over the batches.

    python configs/own_model.py
    mpirun -n 2 python configs/own_model.py

Both print the same accuracy and the same bits. The first half is the network as its author had it: a list of weights W,
a list of biases b, sigmoids, squared error, minibatches. The second half is what makes it parallel.
"""

import os

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # before numpy: a worker is one core

import time
from itertools import pairwise

import numpy as np

from psgd.data.sources.digits import load_digits

EPOCHS, BATCH, RATE = 40, 10, 3.0

# --- as the author had it -------------------------------------------------------------------------------------------

random = np.random.default_rng(0)  # from a fixed seed: every process must begin with the same numbers
SIZES = [64, 30, 10]
W = [random.normal(0, 1 / np.sqrt(i), (i, o)) for i, o in pairwise(SIZES)]
b = [np.zeros(o) for o in SIZES[1:]]


def forward(parameters, X):
    W, b = parameters
    activations = [X]
    for w, c in zip(W, b, strict=True):
        activations.append(1 / (1 + np.exp(-(activations[-1] @ w + c))))
    return activations


def gradient(parameters, X, y):
    """The mean over the minibatch, vectorised: X has a row an example, y a one-hot row."""
    W, _ = parameters
    activations = forward(parameters, X)
    dW, db = [], []
    delta = (activations[-1] - y) / len(X)
    for layer in reversed(range(len(W))):
        after, before = activations[layer + 1], activations[layer]
        delta = delta * after * (1 - after)
        dW.insert(0, before.T @ delta)
        db.insert(0, delta.sum(axis=0))
        delta = delta @ W[layer].T
    return dW, db


def accuracy(parameters, X, y):
    return np.mean(forward(parameters, X)[-1].argmax(axis=1) == y.argmax(axis=1))


def train_alone(W, b, X, y):
    for _ in range(EPOCHS):
        order = random.permutation(len(X))
        for start in range(0, len(X), BATCH):  # "how do I parallelise this loop?"
            rows = order[start : start + BATCH]
            dW, db = gradient((W, b), X[rows], y[rows])
            W = [w - RATE * dw for w, dw in zip(W, dW, strict=True)]
            b = [c - RATE * dc for c, dc in zip(b, db, strict=True)]
    return W, b


train, test = load_digits()
X, y = train.inputs / 16, np.eye(10)[train.targets]
X_test, y_test = test.inputs / 16, np.eye(10)[test.targets]

began = time.perf_counter()
alone = train_alone(W, b, X, y)
seconds = time.perf_counter() - began

# --- in parallel ----------------------------------------------------------------------------------------------------

import psgd  # noqa: E402

fitted = psgd.fit(
    gradient, (W, b), (X, y), strategy="parameter-averaging", period=20, workers=2,
    learning_rate=RATE, epochs=EPOCHS, batch_size_per_worker=BATCH,
)  # fmt: skip
W, b = fitted.parameters  # a list of weights and a list of biases, as before

# --------------------------------------------------------------------------------------------------------------------

if fitted.first:  # of several processes one prints
    summary = fitted.summary
    print(f"alone:    accuracy {accuracy(alone, X_test, y_test):.4f}, {seconds:.2f} s")
    print(
        f"psgd.fit: accuracy {accuracy((W, b), X_test, y_test):.4f}, {summary['train_seconds']:.2f} s, "
        f"{summary['workers']} workers on {summary['processes']} {summary['group']} process(es)"
    )
    print(f"sha256 {summary['parameters_sha256']}")
