"""Stages of gpu_check that are commands: processes under mpirun, benchmarks, MNIST, compute-sanitizer."""

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from gpu_check import launcher
from gpu_check_stage import Record, SkippedError

ROOT = Path(__file__).resolve().parents[1]
SCRIPTS = ROOT / "scripts"
MOST = 1e-4  # of the distance moved
MNIST_FILES = ("train-images", "train-labels", "t10k-images", "t10k-labels")
# Batch: seconds of training that psgd is to reach for ten epochs of network B.
MNIST_SECONDS = {100: 0.5, 1000: 0.1}
SANITIZER = "/usr/local/cuda/bin/compute-sanitizer"
TOOLS = ("memcheck", "racecheck", "synccheck")
TOOL_SECONDS = 55


class CommandError(Exception):
    pass


def said(command: Sequence[str], seconds: float) -> str:
    """The standard output of a command. CommandError with the end of what it said, if it fails. What it has printed
    when its time is over counts, if it is something."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=seconds, cwd=ROOT)
    except subprocess.TimeoutExpired as late:
        if not late.stdout:
            raise
        return late.stdout.decode()
    sys.stderr.write(done.stderr)
    if done.returncode:
        last = next((line for line in reversed((done.stdout + done.stderr).splitlines()) if line.strip()), "no word")
        raise CommandError(f"exit code {done.returncode}: {last[:400]}")
    return done.stdout


def staged(record: Record) -> None:
    pretended = ["--pretend"] * record.pretend
    for processes, gpus in ((2, "all"), (2, "even"), (4, "all"))[: 2 if record.pretend else None]:
        what = f"{processes} processes, GPUs for {gpus}"
        record.at(what)
        command = [str(launcher()), "-n", str(processes), sys.executable, str(SCRIPTS / "gpu_job.py")]
        found = json.loads(said([*command, *pretended, "--gpus", gpus], 50))
        for name, result in found.items():
            record.check(f"{what}, {name}: replicas have the same bits", result["same"])
        far = max(result["share"] for result in found.values())
        record.within(f"{what}: distance from the CPU's", far, MOST)


def ipc(record: Record) -> None:
    """Combined in each other's memory, and beside it on the host."""
    for processes in (2,) if record.pretend else (2, 4):
        record.at(f"{processes} processes")
        command = [str(launcher()), "-n", str(processes), sys.executable, str(SCRIPTS / "gpu_job.py"), "--combine"]
        found = json.loads(said([*command, *["--pretend"] * record.pretend], 50))
        if not all(result["on_devices"] for result in found.values()):
            raise SkippedError("processes cannot reach each other's memory on this GPU: no CUDA IPC")
        for name, result in found.items():
            what = f"{processes} processes, {name}"
            record.check(f"{what}: replicas have the same bits", result["same"])
            if "clipped" not in name:  # the norm's squares are summed in another order
                record.check(f"{what}: the bits of a combination on the host", result["as_staged"])
        far = max(result["share"] for result in found.values())
        record.within(f"{processes} processes: distance from the CPU's", far, MOST)


def bench(record: Record) -> None:
    command = [sys.executable, str(SCRIPTS / "bench_gpu.py"), "--json"]
    command += ["--pretend", "--steps", "2", "--networks", "E"] if record.pretend else ["--short"]
    record.at("bench_gpu.py")
    lines = [line for line in said(command, 215).splitlines() if line.endswith("}")]  # the last may be cut
    found = json.loads(lines[-1])
    record.check("bench_gpu.py ran", ok=True)
    for what, value in found["ceilings"].items():
        record.figure(what, value)
    for row in found["rows"]:
        for what, value in row["figures"].items():
            record.figure(f"network {row['network']}, {what}", value)
        for goal in () if record.pretend else row["goals"]:
            record.speed(f"network {row['network']}, {goal['what']}", goal["value"], goal["met"], goal["wanted"])
    for why in found["left out"]:
        record.figure("left out", why)


# MNIST


def mnist(record: Record) -> None:
    data, real = mnist_data()
    record.figure("data", "MNIST" if real else "no MNIST in $PSGD_DATA/mnist: random images of its shape")
    for batch, most in MNIST_SECONDS.items():
        record.at(f"batches of {batch}")
        if record.pretend:  # the settings, at once, and on no GPU
            said([*training(batch, data, "cpu"), "--dry-run", "--no-probe"], 30)
            record.check(f"settings for batches of {batch} are valid", ok=True)
            continue
        with tempfile.TemporaryDirectory() as folder:
            command = [*training(batch, data or [npz_of_mnists_shape(Path(folder))], "cuda"), "--quiet"]
            summary = json.loads(said([*command, "--output", f"{folder}/run"], 50))
        seconds, accuracy = summary["train_seconds"], summary["test_accuracy"]
        what = f"ten epochs, batches of {batch}"
        record.check(f"{what}: accuracy", accuracy >= 0.97 if real else np.isfinite(accuracy), f"{accuracy:.4f}")
        record.speed(f"{what}: seconds of training", f"{seconds:.3f}", seconds <= most, f"<= {most}")


def mnist_data() -> tuple[list[str], bool]:
    """Settings of MNIST and whether it is there; none if it is not."""
    folder = Path(os.environ.get("PSGD_DATA", "/nonexistent"), "mnist")
    there = folder.is_dir() and all(any(folder.glob(f"{name}*")) for name in MNIST_FILES)
    return (["data.source=mnist"], True) if there else ([], False)


def npz_of_mnists_shape(folder: Path) -> str:
    """Ten blurred classes. Returns the setting."""
    draw = np.random.default_rng(0)
    centres = draw.integers(0, 160, (10, 784))
    arrays: dict[str, Any] = {}
    for part, examples in (("train", 60000), ("test", 10000)):
        labels = draw.integers(0, 10, examples)
        noise = draw.integers(0, 96, (examples, 784), dtype=np.uint8)
        arrays |= {f"x_{part}": centres[labels].astype(np.uint8) + noise, f"y_{part}": labels}
    np.savez(folder / "images.npz", **arrays)
    return f"data={{source: npz, path: {folder / 'images.npz'}}}"


def training(batch: int, data: Sequence[str], device: str) -> list[str]:
    """Network B and Adam, one worker, evaluated at the end, which is not timed."""
    return [
        *(sys.executable, "-m", "psgd", "train", "mnist", *data, f"device={device}", "workers=1", "group=serial"),
        *("strategy={name: parameter-averaging, period: 600}", f"training.batch_size_per_worker={batch}"),
        *("training.epochs=10", "training.evaluate_every=1000"),
    ]


# compute-sanitizer


def sanitizer(record: Record) -> None:
    job = [sys.executable, str(SCRIPTS / "gpu_job.py"), "--alone", *["--pretend"] * record.pretend]
    record.at("the job without a tool")
    far = json.loads(said(job, 60))
    record.within("the job that the tools look at: distance from the CPU's", max(far.values()), MOST)
    tool = shutil.which("compute-sanitizer") or SANITIZER
    if record.pretend:
        return
    if not Path(tool).exists():
        raise SkippedError("no compute-sanitizer here (it comes with CUDA's toolkit)")
    for name in TOOLS:
        record.at(name)
        command = [tool, "--tool", name, "--error-exitcode", "9", "--report-api-errors", "no", *job]
        try:
            done = subprocess.run(command, capture_output=True, text=True, timeout=TOOL_SECONDS, cwd=ROOT)
        except subprocess.TimeoutExpired:
            record.check(f"{name} ends", ok=False, value=f"not within {TOOL_SECONDS} s")
            continue
        lines = (done.stdout + done.stderr).splitlines()
        if any("not supported" in each for each in lines):
            raise SkippedError("compute-sanitizer refuses this device: " + " ".join(lines)[:200])
        found = [each.strip("= ") for each in lines if each.startswith("=========")]
        record.check(f"{name} finds nothing", done.returncode == 0, "; ".join(found[-3:])[:400])
