#!/usr/bin/env python
"""Examples a second and memory of the sparse linear model at the size of Zinkevich et al. 2010: N made examples of 300
features in 2^18 dimensions, one pass of algorithm 3 (configs/sparse_svm.yaml) with 4 workers in one process.

    python scripts/bench_sparse.py [--examples N] [--batches 1 100] [--json]

Memory is the most that this process ever had, the interpreter and its libraries included, against the bytes of the data
(training and test part). Seconds are of training alone.
"""

import argparse
import json
import os
import platform
import resource
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from psgd.blas import describe, limit_before_numpy  # noqa: E402

limit_before_numpy()  # must come before anything that imports numpy

from psgd.build import build_job, load_data  # noqa: E402
from psgd.config import resolve  # noqa: E402
from psgd.data.dataset import Data  # noqa: E402
from psgd.data.sparse import SparseDataset  # noqa: E402
from psgd.group.serial import Serial  # noqa: E402
from psgd.loop import Loop  # noqa: E402
from psgd.record import Record  # noqa: E402


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--examples", type=int, default=1_000_000, help="of the training part; 1,000,000 if not given")
    parser.add_argument(
        "--batches", type=int, nargs="+", default=[1, 100], help="examples of a step; 1 100 if not given"
    )
    parser.add_argument("--json", action="store_true", help="print the figures as JSON")
    options = parser.parse_args()
    load_before, before = os.getloadavg()[0], peak_bytes()
    settings = resolve(str(ROOT / "configs" / "sparse_svm.yaml"), [f"data.examples={options.examples}"]).settings
    began = time.perf_counter()
    data = load_data(settings)
    made = time.perf_counter() - began
    size = sum(part.bytes for part in (data.train, data.test) if isinstance(part, SparseDataset))
    after_making = peak_bytes()
    rows = [train(batch, options.examples, data) for batch in options.batches]
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    figures = {
        "machine": f"{platform.processor() or platform.machine()}, {cores} cores",
        "blas": "{name} {version} {kernel}".format(**describe()),
        "commit": commit(),
        "load_before": round(load_before, 2),
        "load_after": round(os.getloadavg()[0], 2),
        "examples": options.examples,
        "seconds_to_make": round(made, 2),
        "data_bytes": size,
        "peak_bytes_before": before,
        "peak_bytes_after_making": after_making,
        "peak_bytes": peak_bytes(),
        "peak_per_data": round(peak_bytes() / size, 3),
        "rows": rows,
    }
    print(json.dumps(figures, indent=2) if options.json else table(figures))
    return 0


def train(batch: int, examples: int, data: Data) -> dict[str, float]:
    overrides = [f"data.examples={examples}", f"training.batch_size_per_worker={batch}", "group=serial"]
    settings = resolve(str(ROOT / "configs" / "sparse_svm.yaml"), overrides).settings
    job = build_job(settings, data)
    record = Record(None, job.deal.examples, job.epochs, "", quiet=True)
    cpu = time.process_time()
    replica = Loop(job, Serial(), record).run()
    return {
        "batch": batch,
        "examples_per_second": round(replica.progress.examples / record.train_seconds),
        "microseconds_a_step": round(1e6 * record.train_seconds * batch / replica.progress.examples, 2),
        "train_seconds": round(record.train_seconds, 2),
        "processor_seconds": round(time.process_time() - cpu, 2),  # with evaluation
        "test_accuracy": round(float(record.last_score["test_accuracy"]), 4),
    }


def peak_bytes() -> int:
    """Resident at most, ever."""
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return most if sys.platform == "darwin" else most * 1024


def commit() -> str:
    run = subprocess.run(["git", "rev-parse", "--short", "HEAD"], cwd=ROOT, capture_output=True, text=True)
    return run.stdout.strip() or "unknown"


def table(figures: dict) -> str:
    lines = ["| batch | examples/s | us a step | test accuracy |", "|---:|---:|---:|---:|"]
    for row in figures["rows"]:
        lines.append(
            f"| {row['batch']} | {row['examples_per_second']:,} | {row['microseconds_a_step']:,} "
            f"| {row['test_accuracy']:.3f} |"
        )
    lines.append(
        f"\n{figures['examples']:,} examples made in {figures['seconds_to_make']} s: {figures['data_bytes'] / 1e9:.2f} "
        f"GB; at most {figures['peak_bytes'] / 1e9:.2f} GB in memory, {figures['peak_per_data']} times the data. "
        f"{figures['machine']}, {figures['blas']}, commit {figures['commit']}, load {figures['load_before']} before "
        f"and {figures['load_after']} after."
    )
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
