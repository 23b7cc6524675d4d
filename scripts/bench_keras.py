#!/usr/bin/env python
"""Compare ten epochs of MNIST on two cores: psgd with two MPI workers, Keras on TensorFlow with two threads and one.

    python scripts/bench_keras.py [--json] [--quick] [--repetitions N]

The job is network B: 784-512-128-64-10, relu, cross-entropy, Adam with a rate of 0.001, 1000 examples a step. psgd's
gradient averaging with 500 examples a worker computes the same as Keras; with parameter averaging each worker takes 50
steps of 1000 examples between two averages. Seconds are those of training: psgd's train_seconds, without the start and
the compilation of numba; and Keras's `fit` without validation, with its copies of the arrays and its compilation. The
rows "compiled" are the epochs alone of a fit that follows a short one, which has compiled the model. psgd looks for
MNIST as usual (README, "Data"), and its loader reads the arrays for Keras. scikit-learn's MLPClassifier is measured if
installed, with two BLAS threads.
"""

import argparse
import json
import sys
import time
import warnings
from collections.abc import Callable
from functools import partial
from statistics import median
from typing import Any, NamedTuple

import numpy as np
from benchmark import (
    ROOT,
    about,
    arguments,
    have,
    have_mpirun,
    in_turns,
    mpirun,
    ratio,
    run,
    show,
    some_cores,
    table,
    train,
)
from networks import NETWORKS
from rivals import BETA1, BETA2, EPSILON, initial_weights

NETWORK = NETWORKS["B"]
CONFIG = str(ROOT / "configs" / "mnist.yaml")
STRATEGIES = {
    "psgd, 2 workers, gradient-averaging": ["strategy.name=gradient-averaging", "training.batch_size_per_worker=500"],
    "psgd, 2 workers, parameter-averaging, period 50": [
        *("strategy.name=parameter-averaging", "strategy.period=50"),
        "training.batch_size_per_worker=1000",
    ],
}
EXAMPLES = 60000  # size of MNIST's training part
KERAS_1, KERAS_2, SCIKIT = "Keras, 1 thread", "Keras, 2 threads", "scikit-learn, 2 threads"
COMPILED = "Keras, 2 threads, compiled"


class Outcome(NamedTuple):
    seconds: float
    accuracy: float  # on the test data


def main() -> int:
    parser = arguments(__doc__)
    parser.add_argument("--measure", nargs=3, help=argparse.SUPPRESS)  # this script starts itself with it
    options = parser.parse_args()
    if options.measure:
        way, threads, epochs = options.measure[0], int(options.measure[1]), int(options.measure[2])
        print(json.dumps(scikit(epochs) if way == "sklearn" else keras(threads, epochs, way == "compiled")))
        return 0
    # Both numbers of epochs are whole rounds of parameter averaging: psgd does not cut the last round.
    repetitions, epochs = (1, 5) if options.quick else (options.repetitions, 10)
    machine = about(repetitions, options.quick)
    outcomes: dict[str, list[Outcome]] = {}

    def seconds(name: str, contender: Callable[[int], Outcome]) -> float:
        outcome = contender(epochs)
        least = 0.95 if options.quick else 0.97
        assert outcome.accuracy >= least, f"{name} came to a test accuracy of {outcome.accuracy} only"
        outcomes.setdefault(name, []).append(outcome)
        return outcome.seconds

    times = in_turns({name: partial(seconds, name, one) for name, one in contenders().items()}, repetitions)
    accuracies = {name: median(outcome.accuracy for outcome in found) for name, found in outcomes.items()}
    rows = [figures(name, times, accuracies[name], epochs) for name in times]
    show(machine, rows, options.json, as_table(rows, epochs))
    return 0


def contenders() -> dict[str, Callable[[int], Outcome]]:
    """For each row, if installed, a function that trains for a number of epochs."""
    found: dict[str, Callable[[int], Outcome]] = {}
    if have_mpirun():
        for how, wanted in {"": "never", ", numba": "always"}.items() if have("numba") else [("", "never")]:
            found |= {f"{name}{how}": partial(train_psgd, [*s, f"compile={wanted}"]) for name, s in STRATEGIES.items()}
    if have("tensorflow"):
        found |= {KERAS_2: partial(train_rival, "keras", 2), COMPILED: partial(train_rival, "compiled", 2)}
        found[KERAS_1] = partial(train_rival, "keras", 1)
    else:
        print("no Keras in this environment: left out (pip install tensorflow)", file=sys.stderr)
    if have("sklearn"):
        found[SCIKIT] = partial(train_rival, "sklearn", 2)
    else:
        print("no scikit-learn in this environment: left out (pip install scikit-learn)", file=sys.stderr)
    return found


def train_psgd(settings: list[str], epochs: int) -> Outcome:
    command = [*mpirun(2), sys.executable, "-m", "psgd.train", CONFIG, "workers=2", "group=mpi", *settings]
    summary = train([*command, f"training.epochs={epochs}", "training.evaluate_every=1000"])
    assert summary["epochs"] == epochs, f"psgd trained for {summary['epochs']} epochs"
    return Outcome(summary["train_seconds"], summary["test_accuracy"])


def train_rival(way: str, threads: int, epochs: int) -> Outcome:
    """Train in a new process, which is bound to as many cores as it has threads."""
    command = [sys.executable, __file__, "--measure", way, str(threads), str(epochs)]
    count = {"OMP_NUM_THREADS": str(threads), "OPENBLAS_NUM_THREADS": str(threads)}
    quiet = {"KERAS_BACKEND": "tensorflow", "TF_CPP_MIN_LOG_LEVEL": "3", "CUDA_VISIBLE_DEVICES": "-1"}
    return Outcome(*json.loads(run(command, some_cores(threads), **count, **quiet)))


def load_arrays() -> list[np.ndarray]:
    """Read MNIST by psgd's loader: training inputs (N, 784) float32, training labels, test inputs, test labels."""
    from psgd.config.resolve import resolve
    from psgd.data.dataset import Dataset
    from psgd.data.sources.load import load_data

    data = load_data(resolve(CONFIG, []).settings)
    arrays = []
    for part in (data.train, data.test):
        assert isinstance(part, Dataset)
        arrays += [part.inputs.astype(np.float32) * np.float32(part.scale), part.targets]
    return arrays


def keras(threads: int, epochs: int, compiled: bool) -> Outcome:
    """Train by `fit` and time the whole call. If `compiled`, time its epochs alone: a fit of two steps comes before,
    after which weights and optimizer are reset."""
    import tensorflow as tf

    tf.config.threading.set_intra_op_parallelism_threads(threads)
    tf.config.threading.set_inter_op_parallelism_threads(threads)
    from keras import Input, Sequential, callbacks, layers, losses, optimizers

    class Clock(callbacks.Callback):
        """Appends the seconds of each epoch to `seconds`."""

        def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
            self.began = time.perf_counter()

        def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
            seconds.append(time.perf_counter() - self.began)

    seconds: list[float] = []
    X, y, X_test, y_test = load_arrays()
    features, *hidden, outputs = NETWORK.sizes
    dense = [layers.Dense(units, activation=NETWORK.activation) for units in hidden]
    model = Sequential([Input((features,)), *dense, layers.Dense(outputs)])
    optimizer = optimizers.Adam(NETWORK.learning_rate, beta_1=BETA1, beta_2=BETA2, epsilon=EPSILON)
    model.compile(optimizer=optimizer, loss=losses.SparseCategoricalCrossentropy(from_logits=True))
    if compiled:
        optimizer.build(model.trainable_variables)
        state = [variable.numpy() for variable in optimizer.variables]
        model.fit(X[: 2 * NETWORK.batch], y[: 2 * NETWORK.batch], batch_size=NETWORK.batch, verbose=0)
        for variable, value in zip(optimizer.variables, state, strict=True):
            variable.assign(value)
    model.set_weights([part for pair in initial_weights(NETWORK) for part in pair])
    began = time.perf_counter()
    model.fit(X, y, batch_size=NETWORK.batch, epochs=epochs, verbose=0, callbacks=[Clock()])
    taken = sum(seconds) if compiled else time.perf_counter() - began
    scores = model.predict(X_test, batch_size=NETWORK.batch, verbose=0)
    return Outcome(taken, float(np.mean(scores.argmax(axis=1) == y_test)))


def scikit(epochs: int) -> Outcome:
    """Train as psgd does: without L2 and early stopping. The environment sets the number of BLAS threads."""
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.neural_network import MLPClassifier

    warnings.simplefilter("ignore", ConvergenceWarning)  # it warns that training ended after the last epoch
    X, y, X_test, y_test = load_arrays()
    model = MLPClassifier(
        NETWORK.sizes[1:-1],
        solver="adam",
        alpha=0.0,
        batch_size=NETWORK.batch,
        learning_rate_init=NETWORK.learning_rate,
        max_iter=epochs,
        n_iter_no_change=epochs + 1,
        random_state=0,
    )
    began = time.perf_counter()
    model.fit(X, y)
    return Outcome(time.perf_counter() - began, float(model.score(X_test, y_test)))


def figures(name: str, times: dict[str, list[float]], accuracy: float, epochs: int) -> dict[str, Any]:
    row = {
        "way": name,
        "seconds": median(times[name]),
        "examples_per_second": epochs * EXAMPLES / median(times[name]),
        "test_accuracy": accuracy,
        "all_seconds": times[name],
    }
    if KERAS_2 in times:
        row["per_keras"] = ratio(times[name], times[KERAS_2])
        row["per_compiled"] = ratio(times[name], times[COMPILED])
    return row


def as_table(rows: list[dict[str, Any]], epochs: int) -> str:
    head = ["way", f"s for {epochs} epochs", "examples/s", "test accuracy", f"s / {KERAS_2}", "compiled"]
    lines = [
        [
            row["way"],
            f"{row['seconds']:.2f}",
            f"{row['examples_per_second']:,.0f}",
            f"{row['test_accuracy']:.4f}",
            *([f"{row['per_keras']:.2f}", f"{row['per_compiled']:.2f}"] if "per_keras" in row else []),
        ]
        for row in rows
    ]
    return table(head[: len(lines[0])], lines)


if __name__ == "__main__":
    sys.exit(main())
