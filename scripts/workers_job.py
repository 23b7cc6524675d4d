"""Takes one measurement of bench_workers.py: a rival with two workers, or psgd's results, which it must reach.

    python scripts/workers_job.py reference NETWORK
    python scripts/workers_job.py JAX|"JAX flat" NETWORK SECONDS
    python scripts/workers_job.py DDP NETWORK SECONDS RANK FILE

It prints the mean loss of the first pass over the batches, how far that pass moved the parameters, and for a rival the
examples per second of both workers. A worker of DDP is a process, which finds the other one through a FILE that
does not exist yet; JAX has both workers in one process.
"""

import gc
import json
import os
import sys
import time
from collections.abc import Callable, Iterable
from math import ceil
from typing import Any

import numpy as np
import rivals
from bench_step import STORED, stored
from networks import NETWORKS

WORKERS = 2


def measure_reference(network: str) -> dict[str, float]:
    """Take a pass by psgd's step on the batches of both workers together."""
    from psgd.learners.learner import Batch, TrainState
    from psgd.learners.losses import LOSSES
    from psgd.learners.mlp import MLP
    from psgd.optimizers.optimizer import Optimizer
    from psgd.optimizers.rules import SGD, Adam
    from psgd.optimizers.schedule import Schedule

    net, data = NETWORKS[network], stored(NETWORKS[network])
    both, single = WORKERS * net.batch, np.dtype(np.float32)
    optimizer = Optimizer(Adam() if net.optimizer == "adam" else SGD(), Schedule(net.learning_rate))
    learner = MLP(net.sizes, net.activation, net.output, LOSSES[net.loss], single)
    parameters = flat_vector([part for pair in rivals.initial_weights(net) for part in pair])
    moments, gradient = np.zeros((optimizer.moment_rows, parameters.size), single), np.empty_like(parameters)
    before = parameters.copy()
    read = data.reader(both, data.classes, single)
    batches = (Batch(*read(slice(start, start + both)), 0.0) for start in range(0, len(data), both))
    learner.run(TrainState(parameters, moments, 0, gradient), optimizer, batches)
    return {"loss": learner.read_loss() / len(data), "moved": float(np.linalg.norm(parameters - before))}


def measure_ddp(network: str, seconds: float, rank: int, rendezvous: str) -> dict[str, float]:
    import torch
    from torch import distributed

    torch.set_num_threads(1)
    distributed.init_process_group("gloo", init_method=f"file://{rendezvous}", rank=rank, world_size=WORKERS)
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
        total = rivals.torch_pass(wrapped, loss_of, optimizer, batches)
        distributed.all_reduce(total)
        return total / (len(batches) * WORKERS)

    def agree(passes: int) -> int:
        agreed = torch.tensor(passes)
        distributed.broadcast(agreed, 0)
        return int(agreed)

    return timed(network, seconds, train, lambda: flat_vector(p.detach() for p in model.parameters()), agree)


def measure_jax(network: str, seconds: float, flat: bool) -> dict[str, float]:
    """Average the gradients array by array, or, if `flat`, as one vector."""
    flags = f"--xla_force_host_platform_device_count={WORKERS} {rivals.XLA_ONE_THREAD}"
    os.environ |= {"XLA_FLAGS": flags, "JAX_PLATFORMS": "cpu"}  # read when jax is imported
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


def timed(
    network: str,
    seconds: float,
    train: Callable[[], Any],
    parameters: Callable[[], np.ndarray],
    agree: Callable[[int], int] = int,
) -> dict[str, float]:
    """Time passes for about `seconds`. `train` takes one and returns its mean loss; `agree` returns the first worker's
    number of passes."""
    before = parameters()
    loss = float(train())  # compiles and warms up
    moved = float(np.linalg.norm(parameters() - before))
    began = time.perf_counter()
    float(train())
    passes = agree(ceil(seconds / (time.perf_counter() - began)))
    began = time.perf_counter()
    for _ in range(passes):
        float(train())  # waits for the pass: two passes of JAX at a time may deadlock
    rate = passes * STORED[NETWORKS[network].sizes[0]] / (time.perf_counter() - began)
    return {"loss": loss, "moved": moved, "rate": rate}


def ready(network: str) -> tuple[np.ndarray, np.ndarray]:
    """The data set as batches in memory: inputs (batches, workers, B, F), one-hot targets (batches, workers, B, O)."""
    data, batch = stored(NETWORKS[network]), NETWORKS[network].batch
    inputs = data.inputs.astype(np.float32) * np.float32(data.scale)
    if NETWORKS[network].sizes[-1] == 1:
        targets = data.targets[:, np.newaxis].astype(np.float32)
    else:
        targets = np.eye(data.classes, dtype=np.float32)[data.targets]
    X, T = (part.reshape(-1, WORKERS, batch, part.shape[-1]) for part in (inputs, targets))
    return X, T


def flat_vector(arrays: Iterable[Any]) -> np.ndarray:
    """All parameters as one vector, copied."""
    return np.concatenate([np.asarray(array).ravel() for array in arrays])


def measured(contender: str, network: str, *words: str) -> dict[str, float]:
    if contender == "reference":
        return measure_reference(network)
    if contender == "DDP":
        seconds, rank, rendezvous = words
        return measure_ddp(network, float(seconds), int(rank), rendezvous)
    return measure_jax(network, float(words[0]), flat=contender == "JAX flat")


if __name__ == "__main__":
    print(json.dumps(measured(*sys.argv[1:])))
