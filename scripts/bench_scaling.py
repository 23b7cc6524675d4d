#!/usr/bin/env python
"""Measure how psgd's time grows with the width, the depth, the batch, the data and the workers.

    python scripts/bench_scaling.py [--json] [--quick] [--repetitions N] [--plot FILE]

The network is 256-256-256-256-10, relu, cross-entropy, batches of 100, SGD, float32; one of its sizes grows at a time.
A step takes a batch that is already in memory. The data are images of 784 bytes in memory-mapped files, which the
system has cached: `loading` opens them, `epoch` samples and gathers each example once, in batches of 250. Workers are
measured by whole runs of psgd.train on synthetic data: with up to one MPI process a core, and with any number of
workers in one process, on one core.

A slope is that of the least-squares line through log(measured) against log(size) over the upper half of the sizes:
doubling the size multiplies the measured quantity by 2^slope. Beside it is the slope of the work: the FLOP of a step,
the cores in use, or 0 where a larger size should cost nothing.
"""

import math
import sys
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from statistics import linear_regression, median
from typing import Any, NamedTuple

from benchmark import (
    about,
    arguments,
    cores,
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
from scaling_plot import need_matplotlib, plot
from scaling_point import OUTPUTS, network

POINT = Path(__file__).resolve().with_name("scaling_point.py")
WIDTH, DEPTH, BATCH = 256, 3, 100
STRATEGIES = {"gradient-averaging": [], "parameter-averaging": ["strategy.period=10"]}


class Effort(NamedTuple):
    widths: list[int]
    depths: list[int]
    batches: list[int]
    examples: list[int]
    workers: list[int]  # numbers of workers in one process
    seconds: float  # of steps in a measurement
    epochs: int  # of a run of psgd.train


class Series(NamedTuple):
    """One quantity, which is measured at growing sizes."""

    name: str
    size: str  # name of the size that grows
    unit: str  # of the quantity
    work: dict[int, float]  # size: work, to which the quantity would be proportional without other costs
    measures: dict[int, Callable[[], float]]


def doubling(first: int, last: int) -> list[int]:
    return [first << i for i in range(int(math.log2(last / first)) + 1)]


FULL = Effort(
    widths=doubling(16, 2048),
    depths=doubling(1, 64),
    batches=doubling(1, 4096),
    examples=doubling(10_000, 320_000),
    workers=doubling(1, 32),
    seconds=0.3,
    epochs=20,
)
QUICK = Effort(
    widths=doubling(16, 256),
    depths=doubling(1, 8),
    batches=doubling(1, 256),
    examples=doubling(1_000, 8_000),
    workers=doubling(1, 4),
    seconds=0.03,
    epochs=1,
)


def main() -> int:
    parser = arguments(__doc__)
    parser.add_argument("--plot", type=Path, metavar="FILE", help="draw it too: a name that ends in .png, .svg or .pdf")
    options = parser.parse_args()
    if options.plot:
        need_matplotlib()  # fails now, not after minutes of measuring
    repetitions, effort = (1, QUICK) if options.quick else (options.repetitions, FULL)
    machine = about(repetitions, options.quick)
    with tempfile.TemporaryDirectory() as directory:
        series = [*of_steps(effort), *of_data(effort, Path(directory)), *of_workers(effort)]
        turns = {f"{each.name}/{size}": call for each in series for size, call in each.measures.items()}
        measured = in_turns(turns, repetitions)
    rows = [row for each in series for row in rows_of(each, measured)]
    slopes = [slope_of(each, rows) for each in series]
    show(machine | {"slopes": slopes}, rows, options.json, f"{table_of_slopes(slopes)}\n\n{table_of_points(rows)}")
    if options.plot:
        plot(rows, slopes, options.plot)
    return 0


def point(*words: object) -> str:
    return run([sys.executable, str(POINT), *map(str, words)], some_cores(1))


def of_steps(effort: Effort) -> list[Series]:
    shapes = {
        ("width", "units of each layer"): {width: (width, DEPTH, BATCH) for width in effort.widths},
        ("depth", "hidden layers"): {depth: (WIDTH, depth, BATCH) for depth in effort.depths},
        ("batch", "examples of a batch"): {batch: (WIDTH, DEPTH, batch) for batch in effort.batches},
    }
    found = []
    for (name, size), by_size in shapes.items():
        work = {at: float(network(*shape).flop) for at, shape in by_size.items()}
        measures = {at: partial(microseconds, "step", *shape, effort.seconds) for at, shape in by_size.items()}
        found.append(Series(name, size, "us a step", work, measures))
    return found


def microseconds(*words: object) -> float:
    return float(point(*words))


def of_data(effort: Effort, directory: Path) -> list[Series]:
    for examples in effort.examples:
        point("write", directory / str(examples), examples)
    flat = dict.fromkeys(effort.examples, 1.0)  # an example should cost the same at any size
    return [
        Series(
            name,
            "examples in the files",
            "us an example",
            flat,
            {n: partial(microseconds, name, directory / str(n)) for n in flat},
        )
        for name in ("loading", "epoch")
    ]


def of_workers(effort: Effort) -> list[Series]:
    available = len(cores()) or 1
    processes = sorted({*doubling(1, available), available}) if have_mpirun() else []
    by_mpi, alone = [], []
    for strategy in STRATEGIES:
        command = train_command(strategy, effort.epochs)
        measures = {n: partial(rate, [*mpirun(n), *command, f"workers={n}"]) for n in processes}
        by_mpi.append(
            Series(f"processes, {strategy}", "MPI processes", "examples/s", {n: float(n) for n in processes}, measures)
        )
        measures = {n: partial(rate, [*command, f"workers={n}", "group=serial"], some_cores(1)) for n in effort.workers}
        alone.append(
            Series(
                f"one process, {strategy}",
                "workers in one process",
                "examples/s",
                dict.fromkeys(measures, 1.0),
                measures,
            )
        )
    return [*by_mpi, *alone] if processes else alone


def train_command(strategy: str, epochs: int) -> list[str]:
    return [
        *(sys.executable, "-m", "psgd.train", f"strategy.name={strategy}", *STRATEGIES[strategy]),
        *("data.source=synthetic", "data.examples=12000", f"data.features={WIDTH}", f"data.classes={OUTPUTS}"),
        *(f"model.hidden={[WIDTH] * DEPTH}", "model.activation=relu", "model.loss=cross-entropy"),
        *("optimizer.name=sgd", "optimizer.learning_rate=0.01", f"training.batch_size_per_worker={BATCH}"),
        *(f"training.epochs={epochs}", "training.evaluate_every=1000"),
    ]


def rate(command: list[str], pinned: set[int] | None = None) -> float:
    return float(train(command, pinned)["examples_per_second"])


def rows_of(series: Series, measured: dict[str, list[float]]) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = []
    for size, work in series.work.items():
        seconds = measured[f"{series.name}/{size}"]
        row = {"series": series.name, "size": size, "unit": series.unit, "median": median(seconds), "work": work}
        if rows:
            before = rows[-1]
            row["times_before"] = ratio(seconds, measured[f"{series.name}/{before['size']}"])
            row["work_times_before"] = work / before["work"]
        rows.append(row | {"all": [float(f"{each:.5g}") for each in seconds]})
    return rows


def slope_of(series: Series, rows: list[dict[str, Any]]) -> dict[str, Any]:
    """Fit the slopes over the upper half of the sizes; they are None for a single size."""
    own = [row for row in rows if row["series"] == series.name]
    upper = own[len(own) // 2 :] if len(own) > 3 else own
    found: dict[str, Any] = {"series": series.name, "size": series.size, "unit": series.unit}
    found |= {"from": upper[0]["size"], "to": upper[-1]["size"], "slope": None, "work_slope": None}
    if len(upper) > 1:
        sizes, medians, work = ([math.log2(row[key]) for row in upper] for key in ("size", "median", "work"))
        found["slope"], found["start"] = linear_regression(sizes, medians)
        found["work_slope"] = linear_regression(sizes, work).slope
    return found


def table_of_slopes(slopes: list[dict[str, Any]]) -> str:
    lines = [
        [
            f"{s['series']}: {s['unit']}",
            f"{s['size']}, {s['from']:,} to {s['to']:,}",
            exponent(s["slope"]),
            exponent(s["work_slope"]),
        ]
        for s in slopes
    ]
    return table(["measured", "doubling", "multiplies it by", "and the work by"], lines)


def exponent(slope: float | None) -> str:
    return "" if slope is None else f"2^{slope + 0:.2f}"


def table_of_points(rows: list[dict[str, Any]]) -> str:
    lines = [
        [
            f"{row['series']}, {row['unit']}",
            f"{row['size']:,}",
            f"{row['median']:,.{0 if row['median'] > 100 else 2}f}",
            *(f"{row[key]:.2f}" if key in row else "" for key in ("times_before", "work_times_before")),
        ]
        for row in rows
    ]
    return table(["measured", "size", "median", "times the one before", "work, times"], lines)


if __name__ == "__main__":
    sys.exit(main())
