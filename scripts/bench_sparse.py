#!/usr/bin/env python
"""Measure speed and memory of the sparse linear model at the size of Zinkevich et al. 2010: N synthetic examples of 300
features in 2^18 dimensions, one pass of algorithm 3 (configs/sparse_svm.yaml) with 4 workers in one process.

    python scripts/bench_sparse.py [--json] [--quick] [--repetitions N] [--examples N] [--batches 1 100]

Memory is the maximum resident set of the process, with the interpreter and its libraries, beside the bytes of the data
(training and test part). Seconds are those of training. One process generates the data once and trains all models.
"""

import argparse
import json
import resource
import sys
import time
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any

from benchmark import ROOT, about, arguments, ratio, run, show, some_cores, table

if TYPE_CHECKING:
    from psgd.config.settings import Settings
    from psgd.data.dataset import Data

HOUR = 3600.0


def main() -> int:
    parser = arguments(__doc__)
    parser.add_argument("--examples", type=int, default=1_000_000, help="of the training part; 1,000,000 if not given")
    parser.add_argument(
        "--batches", type=int, nargs="+", default=[1, 100], help="examples of a step; 1 100 if not given"
    )
    parser.add_argument("--here", type=int, help=argparse.SUPPRESS)  # repetitions; this script starts itself with it
    options = parser.parse_args()
    if options.here:
        print(json.dumps(measure(options.examples, options.batches, options.here)))
        return 0
    repetitions = 1 if options.quick else options.repetitions
    examples = min(options.examples, 10_000) if options.quick else options.examples
    machine = about(repetitions, options.quick)
    command = [sys.executable, str(Path(__file__).resolve()), "--here", str(repetitions), "--examples", str(examples)]
    figures = json.loads(run([*command, "--batches", *map(str, options.batches)], some_cores(1), HOUR))
    rows = figures.pop("rows")
    show(machine | figures, rows, options.json, as_text(figures, rows))
    return 0


def measure(examples: int, batches: list[int], repetitions: int) -> dict[str, Any]:
    from psgd.data.sources.load import load_data
    from psgd.data.sparse import SparseDataset

    before = peak_bytes()
    began = time.perf_counter()
    data = load_data(settings_of(examples, 1))
    made = time.perf_counter() - began
    parts = [part for part in (data.train, data.test) if isinstance(part, SparseDataset)]
    arrays = [array for part in parts for array in (part.indptr, part.indices, part.values, part.targets)]
    size = sum(array.nbytes for array in arrays if array is not None)
    after_making = peak_bytes()
    turns: dict[int, list[dict[str, float]]] = {batch: [] for batch in batches}
    for _ in range(repetitions):
        for batch, runs in turns.items():
            runs.append(train(batch, examples, data))
    return {
        "examples": examples,
        "seconds_to_make": round(made, 2),
        "data_bytes": size,
        "peak_bytes_before": before,
        "peak_bytes_after_making": after_making,
        "peak_bytes": peak_bytes(),
        "peak_per_data": round(peak_bytes() / size, 3),
        "rows": [row(batch, turns) for batch in turns],
    }


def row(batch: int, turns: dict[int, list[dict[str, float]]]) -> dict[str, Any]:
    runs, first = turns[batch], next(iter(turns.values()))
    medians = {name: median(run[name] for run in runs) for name in runs[0]}
    rates = [[run["examples_per_second"] for run in each] for each in (runs, first)]
    return {"batch": batch, **medians, "times_first": ratio(*rates), "all_examples_per_second": rates[0]}


def settings_of(examples: int, batch: int) -> "Settings":
    from psgd.config.resolve import resolve

    overrides = [f"data.examples={examples}", f"training.batch_size_per_worker={batch}", "group=serial"]
    return resolve(str(ROOT / "configs" / "sparse_svm.yaml"), overrides).settings


def train(batch: int, examples: int, data: "Data") -> dict[str, float]:
    from psgd.group.serial import Serial
    from psgd.jobs.build import build_job
    from psgd.training.loop import Loop
    from psgd.training.recorder import Recorder

    job = build_job(settings_of(examples, batch), data)
    loop = Loop(job, Serial(), Recorder(None, job.sampler.examples, job.epochs, "", quiet=True))
    processor = time.process_time()
    replica = loop.run()
    seconds = loop.stopwatch.train_seconds
    return {
        "examples_per_second": round(replica.progress.examples / seconds),
        "microseconds_a_step": round(1e6 * seconds * batch / replica.progress.examples, 2),
        "train_seconds": round(seconds, 2),
        "processor_seconds": round(time.process_time() - processor, 2),  # evaluation included
        "test_accuracy": round(loop.scores["test_accuracy"], 4),
    }


def peak_bytes() -> int:
    """The maximum resident set of this process so far."""
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return most if sys.platform == "darwin" else most * 1024


def as_text(figures: dict[str, Any], rows: list[dict[str, Any]]) -> str:
    lines = [
        [
            str(row["batch"]),
            f"{row['examples_per_second']:,.0f}",
            f"{row['microseconds_a_step']:,.2f}",
            f"{row['test_accuracy']:.3f}",
            f"{row['times_first']:.2f}",
        ]
        for row in rows
    ]
    head = ["examples a step", "examples/s", "us a step", "test accuracy", f"times {rows[0]['batch']} a step"]
    return table(head, lines) + (
        f"\n\n{figures['examples']:,} examples made in {figures['seconds_to_make']} s: "
        f"{figures['data_bytes'] / 1e9:.2f} GB; at most {figures['peak_bytes'] / 1e9:.2f} GB in memory, "
        f"{figures['peak_per_data']} times the data."
    )


if __name__ == "__main__":
    sys.exit(main())
