"""`psgd.fit` under mpirun: `mpirun -n 2 python tests/user_function.py WHAT`; `main` lists what."""

import json
import os
import sys

import numpy as np

import psgd

RANK = int(os.environ.get("PMI_RANK", os.environ.get("OMPI_COMM_WORLD_RANK", "0")))


def problem() -> tuple[list[np.ndarray], tuple[np.ndarray, np.ndarray]]:
    """A list of arrays as parameters, and labels of another dtype."""
    random = np.random.default_rng(0)
    X = random.normal(size=(90, 5))
    y = (X @ random.normal(size=5) > 0).astype(np.int8)
    return [random.normal(size=(5, 4)), np.zeros(4), random.normal(size=(4, 1)), np.zeros(1)], (X, y)


def outputs(parameters, X):
    W1, b1, W2, b2 = parameters
    hidden = np.tanh(X @ W1 + b1)
    return hidden, (hidden @ W2 + b2)[:, 0]


def gradient(parameters, X, y):
    W2 = parameters[2]
    hidden, answer = outputs(parameters, X)
    delta = ((answer - y) / len(X))[:, None]
    before = (delta @ W2.T) * (1 - hidden**2)
    return [X.T @ before, before.sum(axis=0), hidden.T @ delta, delta.sum(axis=0)], 0.5 * np.mean((answer - y) ** 2)


def score(parameters, X, y):
    return np.mean((outputs(parameters, X)[1] > 0.5) == y)


STRATEGIES = {
    "gradient-averaging": {"strategy": "gradient-averaging", "optimizer": {"name": "adam", "clip_norm": 0.5}},
    "parameter-averaging": {
        "strategy": "parameter-averaging",
        "period": 7,
        "optimizer": {"name": "sgd", "momentum": 0.5},
    },
    "weighted-averaging": {"strategy": {"name": "weighted-averaging", "period": 8}, "speeds": [1, 0.5, 1]},
}


def train(group: str = "auto") -> dict[str, psgd.Fitted]:
    parameters, dataset = problem()
    return {
        name: psgd.fit(
            gradient, parameters, dataset, workers=3, epochs=20, batch_size_per_worker=4, learning_rate=0.1,
            group=group, test=dataset, score=score, **settings,
        )
        for name, settings in STRATEGIES.items()
    }  # fmt: skip


def main(what: str) -> None:
    parameters, dataset = problem()
    calls = []

    def failing(parameters, X, y):
        calls.append(len(y))
        found, loss = gradient(parameters, X, y)
        if RANK == 1 and len(calls) == 9:
            if what == "raise":
                raise ZeroDivisionError("deliberately")
            return found[:3], loss
        return found, loss

    def bad_score(parameters, X, y):
        raise ZeroDivisionError("in score")

    if what == "train":
        found = {name: {**fitted.summary, "history": fitted.history} for name, fitted in train().items()}
        # The first process to stdout, the other to stderr: mpirun would mix the two on one stream.
        print(json.dumps(found), file=sys.stderr if RANK else sys.stdout, flush=True)
        return
    if what == "score":
        psgd.fit(gradient, parameters, dataset, workers=2, test=dataset, score=bad_score)
    elif what == "unseeded":
        parameters[0] += RANK
        psgd.fit(gradient, parameters, dataset)
    elif what == "sign":
        psgd.fit(lambda p, X, y: ([-part for part in gradient(p, X, y)[0]], gradient(p, X, y)[1]), parameters, dataset)
    elif what == "setting":
        psgd.fit(gradient, parameters, dataset, period=-1)
    else:
        psgd.fit(
            failing, parameters, dataset, workers=2, epochs=50, strategy="parameter-averaging", period=5, check=False
        )
    print("went on")


if __name__ == "__main__":
    main(sys.argv[1])
