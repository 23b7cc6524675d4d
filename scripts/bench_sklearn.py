#!/usr/bin/env python
"""Compare psgd's estimators with scikit-learn's MLPClassifier and MLPRegressor: scores on held-out data, and time.

    python scripts/bench_sklearn.py [--json] [--quick] [--repetitions N]

Every estimator has its defaults; inputs, and the values of a regression, are standardised. Each repetition splits the
data and seeds the estimators anew. Seconds are those of one fit on one core. The last row is made data, of 20 000
examples of 100 features in 10 classes.
"""

import argparse
import json
import sys
import time
import warnings
from statistics import fmean, median, stdev
from typing import Any

from benchmark import about, arguments, ratio, run, show, some_cores, table

THEIRS, OURS, FOUR = "scikit-learn", "psgd", "psgd, 4 workers"
DATA = ("iris", "wine", "breast_cancer", "digits", "diabetes", "made")


def main() -> int:
    parser = arguments(__doc__)
    parser.add_argument("--one", nargs=3, help=argparse.SUPPRESS)  # this script starts itself with it
    options = parser.parse_args()
    if options.one:
        name, seed, quick = options.one
        print(json.dumps(one(name, int(seed), quick == "True")))
        return 0
    repetitions = 2 if options.quick else options.repetitions
    machine = about(repetitions, options.quick)
    found: dict[str, list[dict[str, Any]]] = {name: [] for name in (THEIRS, OURS, FOUR)}
    for seed in range(repetitions):
        for name in found:
            command = [sys.executable, __file__, "--one", name, str(seed), str(options.quick)]
            found[name].append(json.loads(run(command, some_cores(1))))
    rows = [row(data, found) for data in found[OURS][0]]
    text = (
        "Scores are accuracies, of diabetes R2: mean ± standard deviation. Seconds of scikit-learn, and how many times"
    )
    show(machine, rows, options.json, f"{as_table(rows)}\n\n{text}\nas fast psgd is.")
    return 0


def one(name: str, seed: int, quick: bool) -> dict[str, tuple[float, float]]:
    """For each data set, (score, seconds of the fit) of one contender."""
    from sklearn import datasets
    from sklearn.compose import TransformedTargetRegressor
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.model_selection import train_test_split
    from sklearn.neural_network import MLPClassifier, MLPRegressor
    from sklearn.preprocessing import StandardScaler

    from psgd.sklearn import PSGDClassifier, PSGDRegressor

    warnings.simplefilter("ignore", ConvergenceWarning)
    more = {"workers": 4, "strategy": "parameter-averaging", "batch_size": 8} if name == FOUR else {}
    found = {}
    for data in DATA[: -1 if quick else None]:
        if data == "made":
            made = {"n_samples": 20000, "n_features": 100, "n_informative": 30, "n_classes": 10, "random_state": 0}
            X, y = datasets.make_classification(**made)
        else:
            X, y = getattr(datasets, f"load_{data}")(return_X_y=True)
        regression = data == "diabetes"
        split = train_test_split(X, y, test_size=0.3, random_state=seed, stratify=None if regression else y)
        X, tested, y, targets = split
        scaler = StandardScaler().fit(X)
        if name == THEIRS:
            estimator = (MLPRegressor if regression else MLPClassifier)(random_state=seed)
        else:
            estimator = (PSGDRegressor if regression else PSGDClassifier)(random_state=seed, **more)
        if regression:
            estimator = TransformedTargetRegressor(estimator, transformer=StandardScaler())
        began = time.perf_counter()
        estimator.fit(scaler.transform(X), y)
        seconds = time.perf_counter() - began
        found[data] = estimator.score(scaler.transform(tested), targets), seconds
    return found


def row(data: str, found: dict[str, list[dict[str, Any]]]) -> dict[str, Any]:
    scores = {name: [result[data][0] for result in results] for name, results in found.items()}
    seconds = {name: [result[data][1] for result in results] for name, results in found.items()}
    return {
        "data": data,
        "scores": {name: (fmean(values), stdev(values)) for name, values in scores.items()},
        "seconds": {name: median(values) for name, values in seconds.items()},
        "times as fast": {name: ratio(seconds[THEIRS], seconds[name]) for name in (OURS, FOUR)},
    }


def as_table(rows: list[dict[str, Any]]) -> str:
    names = (THEIRS, OURS, FOUR)
    lines = []
    for row in rows:
        scores = [f"{mean:.3f} ± {deviation:.3f}" for mean, deviation in map(row["scores"].get, names)]
        fast = [f"{row['times as fast'][name]:.2f}" for name in (OURS, FOUR)]
        lines.append([row["data"], *scores, f"{row['seconds'][THEIRS]:.2f} s", *fast])
    return table(["data", *names, f"{THEIRS} takes", *(f"{name}, times as fast" for name in (OURS, FOUR))], lines)


if __name__ == "__main__":
    sys.exit(main())
