#!/usr/bin/env python
"""Measure the memory of each process that trains on MNIST: four MPI workers of psgd, and rivals in one process.

    python scripts/bench_memory.py [--json] [--quick] [--repetitions N]

Memory is the proportional set size (PSS): a page that n processes have mapped counts 1/n for each. It is read every
20 ms until the job ends, and the maximum is reported, wherever it occurs: reading the data and compiling are included.
Other programs may share the libraries' pages and lower the result, so run nothing else meanwhile.

psgd runs configs/mnist.yaml, and again with numba if that is installed. A rival trains the same network for a few
steps. It holds training and test images either as float32 or as bytes, which it converts batch by batch. From the same
weights and batches it must reach psgd's loss. The images are those in $PSGD_DATA/mnist, or random bytes of their shape.
"""

import json
import os
import signal
import struct
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

from benchmark import ROOT, about, arguments, contender_environment, have, have_mpirun, mpirun, ratio, run, show, table

STRATEGIES = ("gradient-averaging", "parameter-averaging")
WORKERS = 4
LIMIT = 150  # MB that each of psgd's processes may use
EPOCHS, QUICK_EPOCHS = 2, 1
EVERY = 0.02  # seconds between two readings
JOB = Path(__file__).resolve().with_name("memory_job.py")
MODULES = {"PyTorch": "torch", "JAX": "jax"}
PARTS = ("Pss", "Pss_Anon", "Pss_File", "Pss_Shmem")


class Peak(NamedTuple):
    """Maxima over time, in megabytes."""

    largest: dict[str, float]  # PARTS of the process with the largest maximum
    smallest: float  # maximum of the process with the smallest one
    all: float  # maximum of the sum over all processes


def main() -> int:
    options = arguments(__doc__).parse_args()
    if not Path("/proc/self/smaps_rollup").exists():
        sys.exit("this benchmark reads /proc/PID/smaps_rollup, which only Linux has")
    repetitions = 1 if options.quick else options.repetitions
    machine = about(repetitions, options.quick)
    with tempfile.TemporaryDirectory() as scratch:
        images, note = mnist(Path(scratch))
        jobs = contenders(images, QUICK_EPOCHS if options.quick else EPOCHS)
        peaks: dict[str, list[Peak]] = {name: [] for name in jobs}
        for _ in range(repetitions):
            for name, measure in jobs.items():
                peaks[name].append(measure())
    rows = [row(name, peaks) for name in peaks]
    show(machine | {"images": note}, rows, options.json, f"{as_table(rows)}\n\n{verdict(rows)}Images: {note}.")
    return 0


def mnist(scratch: Path) -> tuple[Path, str]:
    """Return (directory of the images, their description)."""
    found = Path(os.environ.get("PSGD_DATA", ""), "mnist")
    if "PSGD_DATA" in os.environ and found.is_dir():
        return found, "MNIST"
    for part, count in (("train", 60000), ("t10k", 10000)):
        with open(scratch / f"{part}-images-idx3-ubyte", "wb") as file:
            file.write(struct.pack(">4B3I", 0, 0, 8, 3, count, 28, 28) + os.urandom(count * 784))
        with open(scratch / f"{part}-labels-idx1-ubyte", "wb") as file:
            file.write(struct.pack(">4BI", 0, 0, 8, 1, count) + bytes(i % 10 for i in range(count)))
    return scratch, "random bytes of MNIST's shape, as there is no $PSGD_DATA/mnist"


def contenders(images: Path, epochs: int) -> dict[str, Callable[[], Peak]]:
    """For each row of the table, a function that measures it."""
    found: dict[str, Callable[[], Peak]] = {}
    if have_mpirun():
        for how, wanted in {"": "never", ", numba": "always"}.items() if have("numba") else [("", "never")]:
            for strategy in STRATEGIES:
                name = f"psgd, {strategy}{how}, each of {WORKERS}"
                found[name] = partial(measure_psgd, images, strategy, wanted, epochs)
    loss = json.loads(run([sys.executable, str(JOB), "psgd", str(images), "bytes"], seconds=120))
    for name, module in MODULES.items():
        if have(module):
            for kept in ("float32", "bytes"):
                found[f"{name}, one process, {kept}"] = partial(measure_rival, name, images, kept, loss)
        else:
            print(f"no {name} in this environment: it is left out (pip install {module})", file=sys.stderr)
    return found


def measure_psgd(images: Path, strategy: str, wanted: str, epochs: int) -> Peak:
    config = [str(ROOT / "configs" / "mnist.yaml"), f"data.path={images}", f"training.epochs={epochs}"]
    config.append(f"compile={wanted}")
    config += [f"workers={WORKERS}", f"strategy.name={strategy}", "--quiet"]
    with tempfile.TemporaryDirectory() as directory:
        train = [sys.executable, "-m", "psgd.train", *config, "--output", str(Path(directory, "run"))]
        return watch([*mpirun(WORKERS), *train], WORKERS)[0]


def measure_rival(name: str, images: Path, kept: str, ours: float) -> Peak:
    peak, printed = watch([sys.executable, str(JOB), name, str(images), kept], 1)
    theirs = json.loads(printed)
    assert abs(theirs - ours) <= 1e-3 * abs(ours), f"the loss is {theirs} with {name}, {ours} with psgd"
    return peak


def watch(command: list[str], processes: int, seconds: float = 300) -> tuple[Peak, str]:
    """Run a job; return the maxima of its Python processes, and what it printed."""
    known: list[int] = []
    ticks: list[list[dict[str, float]]] = []  # for each reading, PARTS of each process
    with tempfile.TemporaryFile("w+") as printed, tempfile.TemporaryFile("w+") as complaints:
        job = subprocess.Popen(command, env=contender_environment(), stdout=printed, stderr=complaints)
        began = time.monotonic()
        try:
            while job.poll() is None and time.monotonic() - began < seconds:
                known = known if len(known) == processes else pythons(job.pid)
                ticks.append([parts(process) for process in known])
                time.sleep(EVERY)
        finally:
            end(job, known)
        printed.seek(0), complaints.seek(0)
        if job.returncode:
            sys.exit(f"{' '.join(command)} ended with {job.returncode}:\n{printed.read()}{complaints.read()}")
        return peak_of(ticks, processes), printed.read()


def end(job: subprocess.Popen[bytes], processes: list[int]) -> None:
    """Kill the processes of a job that has not ended."""
    if job.poll() is None:
        for process in [*processes, job.pid]:
            with suppress(ProcessLookupError):
                os.kill(process, signal.SIGKILL)
        job.wait()


def pythons(process: int) -> list[int]:
    """The process itself if it runs Python, else its nearest descendants that do."""
    try:
        words = Path(f"/proc/{process}/cmdline").read_bytes().split(b"\0")
        if Path(os.fsdecode(words[0])).name.startswith("python"):
            return [process]
        below = Path(f"/proc/{process}/task/{process}/children").read_text().split()
    except OSError:  # the process has ended
        return []
    return [found for child in below for found in pythons(int(child))]


def parts(process: int) -> dict[str, float]:
    """Megabytes of each part; 0 if the process has ended."""
    try:
        lines = Path(f"/proc/{process}/smaps_rollup").read_text().splitlines()[1:]
    except OSError:
        lines = []
    kilobytes = {words[0].rstrip(":"): int(words[1]) for words in map(str.split, lines)}
    return {part: kilobytes.get(part, 0) * 1024 / 1e6 for part in PARTS}


def peak_of(ticks: list[list[dict[str, float]]], processes: int) -> Peak:
    whole = [tick for tick in ticks if len(tick) == processes]
    assert whole, f"never were there {processes} processes"
    peaks = [max((tick[i] for tick in whole), key=lambda seen: seen["Pss"]) for i in range(processes)]
    peaks.sort(key=lambda seen: seen["Pss"])
    return Peak(peaks[-1], peaks[0]["Pss"], max(sum(seen["Pss"] for seen in tick) for tick in whole))


def row(name: str, peaks: dict[str, list[Peak]]) -> dict[str, Any]:
    found = peaks[name]
    largest = {part: [peak.largest[part] for peak in found] for part in PARTS}
    first = next(iter(peaks.values()))
    return {
        "job": name,
        **{f"{part}_MB": median(largest[part]) for part in PARTS},
        "smallest_MB": median(peak.smallest for peak in found),
        "all_MB": median(peak.all for peak in found),
        "times_first": ratio(largest["Pss"], [peak.largest["Pss"] for peak in first]),
        "all_Pss_MB": [round(each, 1) for each in largest["Pss"]],
    }


def as_table(rows: list[dict[str, Any]]) -> str:
    columns = [*(f"{part}_MB" for part in PARTS), "all_MB"]
    lines = [[row["job"], *(f"{row[c]:.1f}" for c in columns), f"{row['times_first']:.2f}"] for row in rows]
    head = ["largest process, MB", "its own", "files, shared out", "shared memory, shared out", "all processes"]
    return table(["job", *head, "largest, times the first row's"], lines)


def verdict(rows: list[dict[str, Any]]) -> str:
    ours = [row["Pss_MB"] for row in rows if row["job"].startswith("psgd")]
    if not ours:
        return ""
    verdict = "below" if max(ours) < LIMIT else "NOT below"
    return f"Each of psgd's processes: {max(ours):.1f} MB, {verdict} {LIMIT}. "


if __name__ == "__main__":
    sys.exit(main())
