#!/usr/bin/env python
"""Measure the microseconds of a training step on one GPU: psgd, PyTorch and JAX, for the five networks of record and a
wide one (784-4096-4096-10, batch 4096).

    python scripts/bench_gpu.py [--json] [--short] [--networks A,B,C,D,E,wide] [--mnist] [--pretend] [--steps N]

All start from the same weights and take the same batches; after ten steps, losses and distances from the start must
agree. psgd's time has all that it does in a segment: rows and factors are written and copied, rows gathered on the
device from the data as they are stored, and the losses come back. Its rivals' batches are in the GPU's memory already.
PyTorch is eager, compiled (torch.compile, reduce-overhead), or a CUDA graph of a whole pass, with its fused optimizer;
JAX is one compiled lax.scan. Nobody rounds to TF32. psgd replays graphs, or where a network fits is `whole` in one
launch a segment. `workers` is psgd's time with eight workers on the GPU, beside one's.

The ceilings are measured in the same run: products of 4096 x 4096 x 4096 through psgd's own calls, and copies by one of
its kernels. --short leaves out eager and compiled PyTorch. --mnist trains network B to 97 % on MNIST
($PSGD_DATA/mnist). --pretend runs psgd's side on a pretended GPU: its times mean nothing.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

import numpy as np  # noqa: E402
from bench_step import rows_of_batches  # noqa: E402
from benchmark import commit, table  # noqa: E402
from gpu_check_stage import opener  # noqa: E402
from gpu_training import FLOAT32, ON_GPU, READY_BYTES, OnDevice, Training, timed  # noqa: E402
from rivals_gpu import COMPARED, measured_rival  # noqa: E402

from psgd.backends.cuda import programs  # noqa: E402
from psgd.backends.cuda.device import Device, DeviceArray, Matrix, Product  # noqa: E402

MANY = 8  # workers
RIVALS = ("PyTorch", "PyTorch compiled", "PyTorch graph", "JAX")
SHORT = ("PyTorch graph", "JAX")
LIMIT, SHORT_LIMIT = 240, 80  # seconds of a rival, for all networks
# Network: how many times PyTorch's graph psgd is to be as fast, by a graph of its own.
AS_FAST = {"A": 1.0, "B": 1.0, "C": 1.5, "D": 1.5, "E": 1.5}
PERIOD, COMBINING = 50, 0.03  # steps, and the most that a combination after them is to cost, as a share of them
AS_FAST_WHOLE = 4.0  # and where a segment is one launch
WHOLE = "psgd, whole"
SIDE = 4096  # of the matrices whose product is the ceiling
COPIED = 256 << 20  # bytes


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true", help="a line after psgd and each rival, of all until then")
    parser.add_argument("--short", action="store_true", help="the strongest rivals only")
    parser.add_argument("--networks", default=",".join(ON_GPU), help="all if not given")
    parser.add_argument("--mnist", action="store_true", help="the time to 97 %% on MNIST as well")
    parser.add_argument("--pretend", action="store_true", help="psgd on a pretended GPU, without rivals")
    parser.add_argument("--steps", type=int, help="of psgd, once; as many as take a while if not given")
    options = parser.parse_args()
    names = options.networks.split(",")
    rivals = [] if options.pretend else [name for name in RIVALS if not options.short or name in SHORT]
    gpu = opener(options.pretend)()
    ceilings = {} if options.pretend else measured_ceilings(gpu)
    ours = {name: psgds(gpu, name, options.steps) for name in names}
    theirs: dict[str, dict[str, Any]] = {}
    missing: list[str] = []

    def told() -> dict[str, Any]:
        found = results(gpu.name, ceilings, ours, theirs, missing)
        if options.json:
            print(json.dumps(found), flush=True)
        return found

    found = told()  # psgd's come first: a rival may take too long
    for rival in rivals:
        try:
            theirs[rival] = measured_rival(rival, names, SHORT_LIMIT if options.short else LIMIT)
        except RuntimeError as failure:
            missing.append(f"{rival}: {failure}")
        found = told()
    if options.mnist:
        found["mnist"] = to_97_percent()
    if not options.json:
        print(as_text(found))
    elif options.mnist:
        print(json.dumps(found))
    return 0


def results(
    device: str,
    ceilings: dict[str, float],
    ours: dict[str, dict[str, Any]],
    theirs: dict[str, dict[str, Any]],
    missing: list[str],
) -> dict[str, Any]:
    """All that is known. Rivals with other results than psgd's are left out."""
    left_out, rows = list(missing), []
    for name, own in ours.items():
        us = dict(own["microseconds"])
        for rival, each in theirs.items():
            if wrong := disagrees(each[name], own):
                left_out.append(f"{rival} on network {name}: {wrong}")
            else:
                us[rival] = each[name]["microseconds"]
        rows.append(row(name, us, own.get("combination"), ceilings.get("gemm flop/s")))
    rounded = {what: f"{value:.3g}" for what, value in ceilings.items()}
    return {"device": device, "commit": commit(), "ceilings": rounded, "rows": rows, "left out": left_out}


def row(name: str, us: dict[str, float], combination: float | None, rate: float | None) -> dict[str, Any]:
    """Microseconds, and what they are to be."""
    figures = {f"{who}: microseconds a step": f"{value:.1f}" for who, value in us.items()}
    goals: list[dict[str, Any]] = []

    def goal(what: str, value: float, least: float) -> None:
        goals.append({"what": what, "value": f"{value:.2f}", "met": value >= least, "wanted": f">= {least}"})

    best = WHOLE if WHOLE in us else "psgd"
    for rival, who, least in (
        ("PyTorch graph", "psgd", AS_FAST.get(name)),
        ("PyTorch graph", WHOLE, AS_FAST_WHOLE),
        ("JAX", best, 1.0),
    ):
        if rival in us and who in us and least:
            goal(f"{rival} / {who}", us[rival] / us[who], least)
    if combination:
        figures[f"a combination of {MANY} workers: microseconds"] = f"{combination:.1f}"
        what = f"{PERIOD} steps of {MANY} workers / a combination"
        goal(what, PERIOD * us[f"psgd, {MANY} workers"] / combination, round(1 / COMBINING, 1))
    if name in ("C", "D", "E"):
        goal(f"{best}: one worker / {MANY} workers", us[best] / us[f"{best}, {MANY} workers"], round(1 / 1.3, 3))
    if rate:
        part = ON_GPU[name].flop / (us["psgd"] * 1e-6) / rate
        if name == "wide":
            goal("share of the rate of products", part, 0.85)
        else:
            figures["share of the rate of products"] = f"{part:.3f}"
    return {"network": name, "microseconds": us, "figures": figures, "goals": goals}


# psgd


def psgds(gpu: Device, name: str, steps: int | None) -> dict[str, Any]:
    """Microseconds of psgd in several ways; mean loss and distance moved of the first batches."""
    ours = measured(gpu, name, 1, steps)
    us = {"psgd": ours["microseconds"]}
    if name != "wide":  # one worker fills the GPU
        us[f"psgd, {MANY} workers"] = measured(gpu, name, MANY, steps)["microseconds"]
    if not steps and Training(ON_GPU[name], ON_GPU[name].optimizer).fits(gpu, 1):
        us[WHOLE] = measured(gpu, name, 1, steps, whole=True)["microseconds"]
        us[f"{WHOLE}, {MANY} workers"] = measured(gpu, name, MANY, steps, whole=True)["microseconds"]
    found = {**ours, "microseconds": us}
    return {**found, "combination": combined(gpu, name, steps)} if name == "A" else found


def disagrees(theirs: dict[str, Any], ours: dict[str, float]) -> str:
    """What is wrong with a rival's results, up to the order of its additions."""
    if "error" in theirs:
        return str(theirs["error"])
    for what, near in (("loss", 1e-3), ("moved", 1e-2)):
        if not abs(theirs[what] - ours[what]) <= near * ours[what]:
            return f"its {what} is {theirs[what]:.6g}, psgd's {ours[what]:.6g}"
    return ""


def measured(gpu: Device, name: str, workers: int, steps: int | None, whole: bool = False) -> dict[str, float]:
    """Microseconds a step, and mean loss and distance moved of the first batches."""
    network = ON_GPU[name]
    rows_NB = rows_of_batches(network, READY_BYTES)[:steps].astype(np.int32)
    training = Training(network, network.optimizer)
    on_gpu = training.on(gpu, workers, whole)
    rows_NWB = np.repeat(rows_NB[:, None], workers, axis=1)
    first = rows_NWB[:COMPARED]
    loss = float(on_gpu.train(first)[0]) / (len(first) * network.batch)
    moved = float(np.linalg.norm(on_gpu.parameters()[0] - training.start))
    found = {"loss": loss, "moved": moved}
    if steps:
        return {**found, "microseconds": timed(lambda: whole_pass(on_gpu, rows_NWB), len(rows_NB), 1, 0)}
    return {**found, "microseconds": timed(lambda: whole_pass(on_gpu, rows_NWB), len(rows_NB))}


def combined(gpu: Device, name: str, steps: int | None) -> float:
    """Microseconds of a combination of many workers' parameters, with the wait for it."""
    training = Training(ON_GPU[name], ON_GPU[name].optimizer)
    on_gpu = training.on(gpu, MANY)
    return timed(on_gpu.combine, 1, 1, 0) if steps else timed(on_gpu.combine, 1)


def cut(rows_NWB: np.ndarray, most: int) -> list[np.ndarray]:
    """Into segments that the device can hold."""
    return [rows_NWB[first : first + most] for first in range(0, len(rows_NWB), most)]


def whole_pass(on_gpu: OnDevice, rows_NWB: np.ndarray) -> None:
    for part in cut(rows_NWB, on_gpu.most):
        on_gpu.train(part)


# Ceilings


def measured_ceilings(gpu: Device) -> dict[str, float]:
    """And the rates of products with one term more, and with a multiple of eight, as those of a layer with biases."""
    count, line = 10, SIDE + 8
    a, b, c = (gpu.empty((line, line), FLOAT32) for _ in range(3))
    one = filled(gpu, gpu.empty((1,), FLOAT32), 1.0)
    for each in (a, b):
        host = np.random.default_rng(0).normal(size=(line, line)).astype(np.float32)
        gpu.upload(host, each)
        gpu.synchronize()
    zero = filled(gpu, gpu.empty((1,), FLOAT32), 0.0)

    def multiply(terms: int) -> None:
        for _ in range(count):
            gpu.gemm(Product(SIDE, SIDE, terms, one, Matrix(a, line), Matrix(b, SIDE), zero, Matrix(c, SIDE), 1))
        gpu.synchronize()

    elements = COPIED // FLOAT32.itemsize
    source, to = (filled(gpu, gpu.empty((elements,), FLOAT32), 1.0) for _ in range(2))
    fresh, begins = gpu.empty((1,), np.dtype(np.int32)), np.ones(1, np.int32)
    gpu.upload(begins, fresh)
    gpu.synchronize()
    program = programs.make_program(("exact",), FLOAT32, np.dtype(np.uint8))

    def copy() -> None:
        for _ in range(count):
            gpu.launch(program, "start_round", (8 * gpu.processors, 1), (256,), source, to, fresh, elements)
        gpu.synchronize()

    rates = {}
    for terms, name in (SIDE, ""), (SIDE + 1, f", {SIDE + 1} terms"), (line, f", {line} terms"):
        multiply(terms)
        rates[f"gemm flop/s{name}"] = 2 * SIDE**2 * terms / (1e-6 * timed(lambda terms=terms: multiply(terms), count))
    copy()
    return {**rates, "copy byte/s": 2 * COPIED / (1e-6 * timed(copy, count))}


def filled(gpu: Device, array: DeviceArray, value: float) -> DeviceArray:
    program = programs.make_program(("exact",), FLOAT32, np.dtype(np.uint8))
    gpu.launch(program, "fill_real", (256,), (256,), array, value, array.size)
    return array


# MNIST


def to_97_percent() -> dict[str, Any]:
    """Train network B with Adam on MNIST by the command, evaluated each epoch; evaluations are not timed."""
    if not Path(os.environ.get("PSGD_DATA", "/nonexistent"), "mnist").is_dir():
        return {"left out": "no MNIST in $PSGD_DATA/mnist"}
    found = {}
    for batch in (100, 1000):
        settings = ["device=cuda", "workers=1", "group=serial", f"training.batch_size_per_worker={batch}"]
        settings += ["training.target=0.97", f"strategy={{name: parameter-averaging, period: {60000 // batch}}}"]
        with tempfile.TemporaryDirectory() as folder:
            command = [
                sys.executable,
                "-m",
                "psgd",
                "train",
                "mnist",
                *settings,
                "--quiet",
                "--output",
                f"{folder}/run",
            ]
            done = subprocess.run(command, capture_output=True, text=True, timeout=LIMIT, cwd=ROOT)
        if done.returncode:
            return {"left out": done.stderr.strip()[-300:]}
        summary = json.loads(done.stdout)
        found[f"batch {batch}"] = {key: summary[key] for key in ("train_seconds", "epochs", "test_accuracy")}
    return found


def as_text(found: dict[str, Any]) -> str:
    columns = list(dict.fromkeys(who for row in found["rows"] for who in row["microseconds"]))
    lines = []
    for row in found["rows"]:
        goals = "; ".join(
            f"{g['what']} {g['value']} ({'' if g['met'] else 'MISSED, '}{g['wanted']})" for g in row["goals"]
        )
        times = [f"{row['microseconds'][c]:,.1f}" if c in row["microseconds"] else "" for c in columns]
        lines.append([row["network"], *times, goals])
    text = table(["microseconds a step", *columns, "to reach"], lines)
    ceilings = ", ".join(f"{what} {value}" for what, value in found["ceilings"].items())
    text += f"\n\n{found['device']}; ceilings of this run: {ceilings or 'none'}; psgd {found['commit']}."
    text += "".join(f"\nLeft out: {why}." for why in found["left out"])
    return text + (f"\nTo 97 % on MNIST: {json.dumps(found['mnist'])}" if "mnist" in found else "")


if __name__ == "__main__":
    sys.exit(main())
