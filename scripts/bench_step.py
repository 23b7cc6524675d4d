#!/usr/bin/env python
"""Measure the microseconds of one training step on one core, for the five networks of record: psgd, PyTorch and JAX.

    python scripts/bench_step.py [--json] [--quick] [--repetitions N] [--networks ABCDE]

A step is forward and backward pass and the optimizer's update, on a float32 batch that is already in memory. All start
from the same weights; after the first pass over the batches, losses and distances from the start must agree. PyTorch is
eager, with its fused optimizer; JAX is one compiled lax.scan over the steps, with donated parameters. `numba` is psgd
with numba's backend, which long runs choose if it is installed; the bits are the same. `gathering` adds what psgd's
loop does for a batch: sampling rows of the stored data set (bytes for the networks of 784 features) and gathering them.
The peak of fused multiply-adds (FMA) is measured by a loop over registers, written in C.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable
from functools import partial
from itertools import product
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
from benchmark import about, arguments, have, in_turns, ratio, run, show, some_cores, table
from networks import NETWORKS, Network
from rivals import INSTALL, XLA_ONE_THREAD, Trainer, Weights, initial_weights, jax_trainer, torch_trainer

STORED = {
    1000: 6000,
    784: 60000,
    7: 900,
}  # features: examples of the data set, as in the jobs that the networks come from
READY_BYTES = 32 << 20  # of inputs in memory: more than a core's own caches hold
MODULES = {"PyTorch": "torch", "JAX": "jax"}
OURS = ("psgd", "numba")
# Twelve independent sums of the CPU's widest vectors: a core that starts two FMAs a cycle, each of four cycles, needs
# eight at least. They are separate variables, since an array would be kept in memory.
FMA_LOOP = """
#include <stdio.h>
#include <time.h>
#if defined(__AVX512F__)
enum { BYTES = 64 };
#elif defined(__AVX__)
enum { BYTES = 32 };
#else
enum { BYTES = 16 };
#endif
typedef float vector __attribute__((vector_size(BYTES)));

int main(int words, char **word) {
    vector x = (vector){0} + 0.5f * words, y = (vector){0} + 0.25f * words;
    vector a = y, b = a + y, c = b + y, d = c + y, e = d + y, f = e + y;
    vector g = f + y, h = g + y, i = h + y, j = i + y, k = j + y, l = k + y;
    double best = 0;
    while (clock() < 0.3 * CLOCKS_PER_SEC) {
        clock_t began = clock(); /* of this process: others on the core do not count */
        for (long n = 0; n < 1000000; n++) {
            a = a * x + y; b = b * x + y; c = c * x + y; d = d * x + y; e = e * x + y; f = f * x + y;
            g = g * x + y; h = h * x + y; i = i * x + y; j = j * x + y; k = k * x + y; l = l * x + y;
        }
        double rate = 1e6 * 12 * 2 * (BYTES / sizeof(float)) * CLOCKS_PER_SEC / (clock() - began);
        if (rate > best) best = rate;
    }
    a += b + c + d + e + f + g + h + i + j + k + l;
    fprintf(stderr, "%f", a[0]); /* else nothing would be computed */
    printf("%f", best);
}
"""


def main() -> int:
    parser = arguments(__doc__)
    parser.add_argument("--networks", default="ABCDE", help="those to measure; ABCDE if not given")
    parser.add_argument("--measure", nargs=3, help=argparse.SUPPRESS)  # this script starts itself with it
    options = parser.parse_args()
    if options.measure:
        contender, name, seconds = options.measure
        print(json.dumps(measured(TRAINERS[contender](NETWORKS[name]), NETWORKS[name], float(seconds))))
        return 0
    repetitions, seconds = (1, 0.05) if options.quick else (options.repetitions, 1.5)
    machine = about(repetitions, options.quick)
    with tempfile.TemporaryDirectory() as directory:
        peak = compiled(Path(directory))
        found = contenders()
        rows = [figures(name, found, peak, repetitions, seconds) for name in options.networks]
    show(machine, rows, options.json, as_table(rows))
    return 0


def contenders() -> list[str]:
    """The names of the contenders that are installed."""
    found = ["psgd", "gathering"]
    for name, module in {"numba": "numba", **MODULES}.items():
        if have(module):
            found += [name, "numba gathering"] if name == "numba" else [name]
        else:
            print(f"no {module} in this environment: {name} is left out ({INSTALL[module]})", file=sys.stderr)
    return found


def compiled(directory: Path) -> Path | None:
    """Compile the program that measures the FMA peak; None without a C compiler."""
    source, program = directory / "fma.c", directory / "fma"
    source.write_text(FMA_LOOP)
    command = ["cc", "-O3", "-march=native", "-o", program, source]
    try:
        subprocess.run(command, check=True, capture_output=True, timeout=60)
    except (OSError, subprocess.SubprocessError):
        print("no C compiler that takes -march=native: the FMA peak is left out", file=sys.stderr)
        return None
    return program


def figures(name: str, found: list[str], peak: Path | None, repetitions: int, seconds: float) -> dict[str, Any]:
    """Measure a row of the table: medians, and medians of the ratios within repetitions."""
    network, core = NETWORKS[name], some_cores(1)
    printed: dict[str, dict[str, float]] = {}

    def measure(contender: str) -> float:
        command = [sys.executable, __file__, "--measure", contender, name, str(seconds)]
        printed[contender] = json.loads(run(command, core, XLA_FLAGS=XLA_ONE_THREAD, JAX_PLATFORMS="cpu"))
        return printed[contender]["microseconds"]

    turns: dict[str, Callable[[], float]] = {contender: partial(measure, contender) for contender in found}
    if peak:
        turns["peak"] = lambda: float(run([str(peak)], core))
    times = in_turns(turns, repetitions)
    check(name, printed)
    row: dict[str, Any] = {"network": name, "sizes": network.sizes, "batch": network.batch}
    row |= {f"{contender} us": median(times[contender]) for contender in found}
    for ours, rival in product(OURS, MODULES):
        if {ours, rival} <= times.keys():
            row[f"{rival} / {ours}"] = ratio(times[rival], times[ours])
    if peak:
        row["peak flop/s"] = max(times["peak"])  # other programs can only lower it
        for ours in [ours for ours in OURS if ours in times]:
            row[f"{ours} % of peak"] = 100 * network.flop / row["peak flop/s"] / (1e-6 * row[f"{ours} us"])
    return row | {"all": times}


def check(name: str, printed: dict[str, dict[str, float]]) -> None:
    """AssertionError unless all contenders reached the same results, up to the order of their additions."""
    ours = printed["psgd"]
    for rival in MODULES.keys() & printed.keys():
        theirs = printed[rival]
        for what, near in (("loss", 1e-3), ("moved", 1e-2)):
            agree = abs(theirs[what] - ours[what]) <= near * ours[what]
            assert agree, f"network {name}: {what} is {theirs[what]} with {rival}, {ours[what]} with psgd"


def measured(trainer: Trainer, network: Network, seconds: float) -> dict[str, float]:
    """Train for about `seconds` after a first pass, which compiles, and whose results are compared."""
    loss = trainer.train() / trainer.steps
    moved = np.linalg.norm(flat(trainer.weights()) - flat(initial_weights(network)))
    passes, began = 0, time.perf_counter()
    while (took := time.perf_counter() - began) < seconds or not passes:
        trainer.train()
        passes += 1
    return {"microseconds": 1e6 * took / (passes * trainer.steps), "loss": loss, "moved": float(moved)}


def flat(weights: Weights) -> np.ndarray:
    """All parameters as one vector, in psgd's order."""
    return np.concatenate([part.ravel() for pair in weights for part in pair])


def stored(network: Network) -> Any:
    """A synthetic data set as psgd stores it: bytes where the inputs are images."""
    from psgd.data.dataset import Dataset

    random, features, classes = np.random.default_rng(1), network.sizes[0], max(2, network.sizes[-1])
    shape, scale = (STORED[features], features), 1.0
    if features == 784:
        inputs, scale = random.integers(0, 256, shape, dtype=np.uint8), 1 / 255
    else:
        inputs = random.standard_normal(shape, dtype=np.float32)
    return Dataset(inputs, random.integers(0, classes, len(inputs)), classes, scale)


def rows_of_batches(network: Network, most_bytes: int = READY_BYTES) -> np.ndarray:
    """The row numbers (N, B) of the N batches of a pass, the same for all contenders."""
    features, batch = network.sizes[0], network.batch
    count = min(1000, most_bytes // (4 * batch * features))
    return np.arange(count * batch).reshape(count, batch) % STORED[features]


def ready(network: Network, most_bytes: int = READY_BYTES) -> tuple[np.ndarray, np.ndarray]:
    """The batches as arrays: inputs (N, B, F) and targets (N, B, O), one-hot for classes."""
    data, rows_NB = stored(network), rows_of_batches(network, most_bytes)
    X_NBF = data.inputs[rows_NB].astype(np.float32) * np.float32(data.scale)
    labels_NB = data.targets[rows_NB]
    if network.sizes[-1] == 1:
        return X_NBF, labels_NB[..., np.newaxis].astype(np.float32)
    return X_NBF, np.eye(data.classes, dtype=np.float32)[labels_NB]


def psgd_trainer(network: Network, batches: Callable[[int], Iterable[Any]], steps: int, backend: Any) -> Trainer:
    """psgd's local steps on the batches that `batches` returns for a number of earlier steps."""
    from psgd.learners.learner import TrainState
    from psgd.learners.losses import LOSSES
    from psgd.learners.mlp import MLP
    from psgd.optimizers.optimizer import Optimizer
    from psgd.optimizers.rules import SGD, Adam, Rule
    from psgd.optimizers.schedule import Schedule

    rule: Rule = Adam() if network.optimizer == "adam" else SGD()
    kind = network.activation, network.output, LOSSES[network.loss]
    learner = MLP(network.sizes, *kind, np.dtype(np.float32), backend=backend)
    optimizer = Optimizer(rule, Schedule(network.learning_rate), backend=backend)
    parameters, taken = flat(initial_weights(network)), 0
    moments, gradient = np.zeros((optimizer.moment_rows, parameters.size), np.float32), np.empty_like(parameters)

    def train() -> float:
        nonlocal taken
        with np.errstate(all="ignore"):
            learner.run(TrainState(parameters, moments, taken, gradient), optimizer, batches(taken))
        taken += steps
        return learner.read_loss() / network.batch

    return Trainer(train, lambda: learner.layout.views(parameters), steps)


def on_ready_batches(network: Network, compiled: bool) -> Trainer:
    """psgd on batches that are already in memory."""
    from psgd.learners.learner import Batch

    read = stored(network).reader(network.batch, network.sizes[-1], np.dtype(np.float32))
    batches = [Batch(*(part.copy() for part in read(rows)), 0.0) for rows in rows_of_batches(network)]
    return psgd_trainer(network, lambda taken: batches, len(batches), backend_for(network, compiled))


def gathering(network: Network, compiled: bool) -> Trainer:
    """psgd with sampling and gathering, several small batches at a time."""
    from psgd.core.replica import Progress
    from psgd.data.sampling.shuffle import Shuffle
    from psgd.training.steps.batches import BatchReader

    data, batch, steps = stored(network), network.batch, len(rows_of_batches(network))
    backend, sampler, endless = backend_for(network, compiled), Shuffle(len(data), batch, 0), 1 << 40
    reader = BatchReader(data, sampler, network.sizes[-1], np.dtype(np.float32), endless, backend)
    return psgd_trainer(network, lambda taken: reader.batches(0, (endless,), taken, steps, Progress()), steps, backend)


def backend_for(network: Network, compiled: bool) -> Any:
    from psgd.backends.numpy.backend import NUMPY

    if not compiled:
        return NUMPY
    from psgd.backends.numba.backend import NumbaBackend

    return NumbaBackend(network.batch, descends=network.optimizer == "sgd")


TRAINERS: dict[str, Callable[[Network], Trainer]] = {
    "psgd": partial(on_ready_batches, compiled=False),
    "numba": partial(on_ready_batches, compiled=True),
    "gathering": partial(gathering, compiled=False),
    "numba gathering": partial(gathering, compiled=True),
    "PyTorch": lambda network: torch_trainer(network, *ready(network)),
    "JAX": lambda network: jax_trainer(network, *ready(network)),
}


def as_table(rows: list[dict[str, Any]]) -> str:
    columns = ["psgd us", "numba us", "gathering us", "numba gathering us", "PyTorch us", "JAX us"]
    columns += [f"{ours} % of peak" for ours in OURS]
    columns += [f"{rival} / {ours}" for ours, rival in product(OURS, MODULES)]
    columns = [column for column in columns if any(column in row for row in rows)]
    names = {"gathering us": "with gathering us", "numba gathering us": "numba, with gathering us"}
    names |= {f"{ours} % of peak": f"{ours} % of FMA peak" for ours in OURS}
    words = [f"{row['network']}: {'-'.join(map(str, row['sizes']))}, batch {row['batch']}" for row in rows]
    figures = [[f"{row[c]:,.{2 if '/' in c else 1}f}" if c in row else "" for c in columns] for row in rows]
    lines = [[word, *line] for word, line in zip(words, figures, strict=True)]
    return table(["network", *(names.get(column, column) for column in columns)], lines)


if __name__ == "__main__":
    sys.exit(main())
