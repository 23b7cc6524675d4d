#!/usr/bin/env python
"""What a second worker is worth: examples per second of two workers on two cores, by psgd, PyTorch and JAX.

    python scripts/bench_workers.py [--json] [--quick] [--repetitions N] [--networks ABC]

psgd runs with two MPI processes, against two independent psgd processes that train at the same time and know nothing of
each other: the most that two cores can give. PyTorch is DDP with gloo on two processes; JAX is one process with two
devices, a compiled lax.scan under shard_map, which averages the gradients array by array or, in `JAX flat`, as one
vector: psgd is compared with the faster of the two. The rivals average gradients in each step, as psgd's
gradient-averaging does; their first pass over the batches must have the loss of psgd's own step on the two workers'
batches together, and move the parameters as far. Only training is timed. psgd deals and gathers its batches meanwhile,
from bytes where the inputs are images; the rivals' batches lie ready in memory.
"""

import argparse
import gc
import json
import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from math import ceil
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import rivals
from bench_step import STORED, stored
from benchmark import about, arguments, have, have_mpirun, in_turns, mpirun, ratio, run, show, table, together
from networks import NETWORKS

WORKERS = 2
STRATEGIES = {
    "gradient-averaging": ["strategy.name=gradient-averaging"],
    "parameter-averaging, period 50": ["strategy.name=parameter-averaging", "strategy.period=50"],
}
SYNCHRONOUS = "gradient-averaging"  # what the rivals do
RIVALS = {"DDP": ["DDP"], "JAX": ["JAX", "JAX flat"]}  # and the ways in which they are run
MODULES = {"DDP": "torch", "JAX": "jax"}
LIMIT = 300.0  # seconds for any one process


PACES = {"A": 10_000, "B": 95_000, "C": 1_000_000}  # about what a worker trains on in a second


def main() -> int:
    parser = arguments(__doc__)
    parser.add_argument("--networks", default="ABC", help="those to measure; ABC if not given")
    # What this script calls itself with.
    parser.add_argument("--measure", nargs=3, metavar=("CONTENDER", "NETWORK", "SECONDS"), help=argparse.SUPPRESS)
    parser.add_argument("--meet", nargs=2, metavar=("RANK", "FILE"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.measure:
        print(json.dumps(measured(*options.measure[:2], float(options.measure[2]), options.meet)))
        return 0
    if len(os.sched_getaffinity(0)) < WORKERS:
        sys.exit(f"this benchmark needs {WORKERS} cores")
    if not have_mpirun():
        return 2
    found = [rival for rival in RIVALS if have(MODULES[rival])]
    for rival in RIVALS.keys() - found:
        print(f"no {rival} in this environment: left out ({rivals.INSTALL[MODULES[rival]]})", file=sys.stderr)
    repetitions, seconds = (1, 0.5) if options.quick else (options.repetitions, 3.0)
    machine = about(repetitions, options.quick)
    rows = [row for network in options.networks for row in compared(network, found, repetitions, seconds)]
    show(machine, rows, options.json, as_table(rows))
    return 0


def compared(network: str, found: Sequence[str], repetitions: int, seconds: float) -> list[dict[str, Any]]:
    """A row for each strategy: medians of examples per second, and ratios within repetitions."""
    expected = json.loads(run(itself("reference", network, seconds), seconds=LIMIT))
    with tempfile.TemporaryDirectory() as directory:
        data = stored(NETWORKS[network])
        np.savez(f"{directory}/data.npz", x_train=data.inputs, y_train=data.targets)
        return measured_in_turns(network, found, repetitions, seconds, expected, f"{directory}/data.npz")


def measured_in_turns(
    network: str, found: Sequence[str], repetitions: int, seconds: float, expected: dict[str, float], data: str
) -> list[dict[str, Any]]:
    turns: dict[str, Callable[[], float]] = {}
    for strategy in STRATEGIES:
        turns[strategy] = partial(in_common, network, strategy, seconds, data)
        turns[f"{strategy} alone"] = partial(alone, network, strategy, seconds, data)
    for way in [way for rival in found for way in RIVALS[rival]]:
        turns[way] = partial(rival_rate, way, network, seconds, expected)
    rates = in_turns(turns, repetitions)
    rows = []
    for strategy in STRATEGIES:
        ours, apart = rates[strategy], rates[f"{strategy} alone"]
        row: dict[str, Any] = {"network": network, "strategy": strategy, "psgd": median(ours)}
        row |= {"two alone": median(apart), "psgd / two alone": ratio(ours, apart)}
        for rival in found if strategy == SYNCHRONOUS else ():
            row |= {way: median(rates[way]) for way in RIVALS[rival]}
            row[f"psgd / {rival}"] = ratio(ours, np.max([rates[way] for way in RIVALS[rival]], axis=0).tolist())
        rows.append(row)
    return rows


def in_common(network: str, strategy: str, seconds: float, data: str) -> float:
    """Examples per second of psgd with two MPI processes."""
    with tempfile.TemporaryDirectory() as directory:
        command = [*mpirun(WORKERS), *training(network, strategy, seconds, data, WORKERS, directory)]
        return rate(run(command, seconds=LIMIT))


def alone(network: str, strategy: str, seconds: float, data: str) -> float:
    """Examples per second of two processes that are independent of each other, added."""
    with tempfile.TemporaryDirectory() as directory:
        commands = [training(network, strategy, seconds, data, 1, f"{directory}/{i}") for i in range(WORKERS)]
        return sum(map(rate, together(commands, cores(), LIMIT)))


def training(network: str, strategy: str, seconds: float, data: str, workers: int, directory: str) -> list[str]:
    """psgd's command. Evaluation, which is not counted, is left to the end."""
    net = NETWORKS[network]
    epochs = max(1, round(seconds * PACES[network] * workers / STORED[net.sizes[0]]))
    return [
        *(sys.executable, "-m", "psgd.train", "--quiet", "--output", directory),
        *("data.source=npz", f"data.path={data}"),
        *(f"model.hidden={list(net.sizes[1:-1])}", f"model.activation={net.activation}"),
        *(f"model.output={net.output}", f"model.loss={net.loss}"),
        *(f"optimizer.name={net.optimizer}", f"optimizer.learning_rate={net.learning_rate}"),
        *(f"training.batch_size_per_worker={net.batch}", "training.evaluate_every=1000000000"),
        f"training.epochs={epochs}",
        *(f"workers={workers}", "group=serial" if workers == 1 else "group=mpi"),
        *STRATEGIES[strategy],
    ]


def rate(summary: str) -> float:
    return json.loads(summary)["examples"] / json.loads(summary)["train_seconds"]


def rival_rate(way: str, network: str, seconds: float, expected: dict[str, float]) -> float:
    """Examples per second of both workers of a rival, which must have done the work expected."""
    command = itself(way, network, seconds)
    if way == "DDP":
        with tempfile.TemporaryDirectory() as directory:
            commands = [[*command, "--meet", str(rank), f"{directory}/meet"] for rank in range(WORKERS)]
            found = json.loads(together(commands, cores(), LIMIT)[0])
    else:
        flags = f"--xla_force_host_platform_device_count={WORKERS} {rivals.XLA_ONE_THREAD}"
        found = json.loads(run(command, set.union(*cores()), LIMIT, XLA_FLAGS=flags, JAX_PLATFORMS="cpu"))
    for what, near in (("loss", 1e-3), ("moved", 1e-2)):  # Adam makes much of small differences
        agree = abs(found[what] - expected[what]) <= near * expected[what]
        assert agree, f"network {network}: {what} is {found[what]} with {way}, {expected[what]} with psgd"
    return float(found["rate"])


def cores() -> list[set[int]]:
    """One for each worker."""
    return [{core} for core in sorted(os.sched_getaffinity(0))[:WORKERS]]


def itself(contender: str, network: str, seconds: float) -> list[str]:
    return [sys.executable, str(Path(__file__).resolve()), "--measure", contender, network, str(seconds)]


def measured(contender: str, network: str, seconds: float, meet: Sequence[str]) -> dict[str, float]:
    if contender == "reference":
        return measure_reference(network)
    if contender == "DDP":
        return measure_ddp(network, seconds, int(meet[0]), meet[1])
    return measure_jax(network, seconds, flat=contender == "JAX flat")


def ready(network: str) -> tuple[np.ndarray, np.ndarray]:
    """It as batches that lie ready: inputs (batches, workers, B, F) and one-hot targets likewise."""
    data, batch = stored(NETWORKS[network]), NETWORKS[network].batch
    inputs = data.inputs.astype(np.float32) * np.float32(data.scale)
    targets = np.eye(data.classes, dtype=np.float32)[data.targets]
    X, T = (part.reshape(-1, WORKERS, batch, part.shape[-1]) for part in (inputs, targets))
    return X, T


def measure_reference(network: str) -> dict[str, float]:
    """What a pass comes to by psgd's step on both workers' batches at once."""
    from psgd.learners.learner import Batch
    from psgd.learners.losses import LOSSES
    from psgd.learners.mlp import MLP
    from psgd.optimizer.optimizer import Optimizer
    from psgd.optimizer.rules import SGD, Adam
    from psgd.optimizer.schedule import Schedule

    net, data = NETWORKS[network], stored(NETWORKS[network])
    both, single = WORKERS * net.batch, np.dtype(np.float32)
    optimizer = Optimizer(Adam() if net.optimizer == "adam" else SGD(), Schedule(net.learning_rate))
    learner = MLP(net.sizes, net.activation, net.output, LOSSES[net.loss], single)
    parameters = flat_vector([part for pair in rivals.initial_weights(net) for part in pair])
    moments, gradient = np.zeros((optimizer.rows, parameters.size), single), np.empty_like(parameters)
    before = parameters.copy()
    read = data.reader(both, data.classes, single)
    batches = (Batch(*read(slice(start, start + both)), 0.0) for start in range(0, len(data), both))
    learner.run(parameters, moments, 0, optimizer, batches, gradient)
    return {"loss": learner.read_loss() / len(data), "moved": float(np.linalg.norm(parameters - before))}


def flat_vector(arrays: Iterable[Any]) -> np.ndarray:
    """A copy of all parameters."""
    return np.concatenate([np.asarray(array).ravel() for array in arrays])


def timed(
    network: str,
    seconds: float,
    train: Callable[[], Any],
    parameters: Callable[[], np.ndarray],
    agree: Callable[[int], int] = int,
) -> dict[str, float]:
    """`train` is a pass over all batches and gives its mean loss; workers `agree` on how many passes there are."""
    before = parameters()
    loss = float(train())  # compiles and warms up
    moved = float(np.linalg.norm(parameters() - before))
    began = time.perf_counter()
    float(train())
    passes = agree(ceil(seconds / (time.perf_counter() - began)))
    began = time.perf_counter()
    for _ in range(passes):
        float(train())  # waits for the pass: two of JAX's at a time may wait for each other for ever
    rate = passes * STORED[NETWORKS[network].sizes[0]] / (time.perf_counter() - began)
    return {"loss": loss, "moved": moved, "rate": rate}


def measure_ddp(network: str, seconds: float, rank: int, meeting: str) -> dict[str, float]:
    import torch
    from torch import distributed

    torch.set_num_threads(1)
    distributed.init_process_group("gloo", init_method=f"file://{meeting}", rank=rank, world_size=WORKERS)
    found = train_ddp(torch, distributed, network, seconds, rank)
    gc.collect()  # a model that outlives its process group may abort the process
    distributed.destroy_process_group()
    return found


def train_ddp(torch: Any, distributed: Any, network: str, seconds: float, rank: int) -> dict[str, float]:
    net = NETWORKS[network]
    model, loss_of = rivals.torch_model(net, rivals.initial_weights(net)), rivals.torch_loss(net)
    optimizer = rivals.torch_optimizer(net, model)
    wrapped = torch.nn.parallel.DistributedDataParallel(model, gradient_as_bucket_view=True)
    X, T = (np.ascontiguousarray(part[:, rank]) for part in ready(network))
    batches = list(zip(torch.from_numpy(X), rivals.torch_targets(net, T), strict=True))

    def train() -> Any:
        total = torch.zeros(())
        for x, t in batches:
            optimizer.zero_grad()
            loss = loss_of(wrapped(x), t)
            loss.backward()
            optimizer.step()
            total += loss.detach()
        distributed.all_reduce(total)
        return total / (len(batches) * WORKERS)

    def agree(passes: int) -> int:
        told = torch.tensor(passes)
        distributed.broadcast(told, 0)
        return int(told)

    return timed(network, seconds, train, lambda: flat_vector(p.detach() for p in model.parameters()), agree)


def measure_jax(network: str, seconds: float, flat: bool) -> dict[str, float]:
    import jax
    from jax.flatten_util import ravel_pytree
    from jax.sharding import NamedSharding, PartitionSpec

    net, mesh = NETWORKS[network], jax.make_mesh((WORKERS,), ("workers",))
    slope, update = jax.value_and_grad(rivals.jax_loss(net)), rivals.jax_update(net)
    everywhere, by_worker = PartitionSpec(), PartitionSpec(None, "workers")

    def mean(gradients: Any) -> Any:
        vector, restore = ravel_pytree(gradients) if flat else (gradients, lambda same: same)
        return restore(jax.lax.pmean(vector, "workers"))

    def step(carry: Any, batch: Any) -> tuple[Any, Any]:
        params, state = carry
        loss, gradients = slope(params, *batch)
        return update(params, state, mean(gradients)), loss

    def scan(params: Any, state: Any, X: Any, T: Any) -> Any:
        carry, losses = jax.lax.scan(step, (params, state), (X, T))
        return *carry, jax.lax.pmean(losses.mean(), "workers")

    specs = (everywhere, everywhere, by_worker, by_worker)
    sharded = jax.shard_map(scan, mesh=mesh, in_specs=specs, out_specs=everywhere, check_vma=False)
    compiled = jax.jit(sharded, donate_argnums=(0, 1))
    params = rivals.jax_params(rivals.initial_weights(net))
    carry = jax.device_put((params, rivals.jax_state(net, params)), NamedSharding(mesh, everywhere))
    both = tuple(part.reshape(len(part), -1, part.shape[-1]) for part in ready(network))
    X, T = jax.device_put(both, NamedSharding(mesh, by_worker))

    def train() -> Any:
        nonlocal carry
        *carry, loss = compiled(*carry, X, T)
        return loss

    return timed(network, seconds, train, lambda: flat_vector(jax.tree.leaves(carry[0])))


def as_table(rows: list[dict[str, Any]]) -> str:
    """Examples per second, then ratios. The first row, a synchronous one, has all columns."""
    columns = sorted(list(rows[0])[2:], key=lambda column: "/" in column)

    def cell(row: dict[str, Any], column: str) -> str:
        return f"{row[column]:,.{2 if '/' in column else 0}f}" if column in row else ""

    lines = [[f"{row['network']}, {row['strategy']}", *(cell(row, column) for column in columns)] for row in rows]
    return table(["examples/s", *columns], lines)


if __name__ == "__main__":
    sys.exit(main())
