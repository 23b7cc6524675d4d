"""The job that bench_memory.py measures: one process that holds MNIST and trains a network for a few steps.

    python scripts/memory_job.py PyTorch DIRECTORY float32|bytes

It prints the mean loss of the steps, which must be the same for all contenders.
"""

import json
import os
import sys
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from networks import NETWORKS
from rivals import (
    XLA_ONE_THREAD,
    initial_weights,
    jax_loss,
    jax_params,
    jax_state,
    jax_update,
    torch_loss,
    torch_model,
    torch_optimizer,
)

from psgd.data.sources.idx import load_idx_directory

NETWORK = NETWORKS["B"]  # the network of configs/mnist.yaml
STEPS = 20


def train_psgd(directory: Path, as_bytes: bool) -> float:
    """Train by psgd and return the mean loss, which the rivals must reach."""
    from psgd.learners.learner import Batch, TrainState
    from psgd.learners.losses import LOSSES
    from psgd.learners.mlp import MLP
    from psgd.optimizers.optimizer import Optimizer
    from psgd.optimizers.rules import Adam
    from psgd.optimizers.schedule import Schedule

    train, _ = load_idx_directory(directory)
    learner = MLP(NETWORK.sizes, NETWORK.activation, NETWORK.output, LOSSES[NETWORK.loss], np.dtype(np.float32))
    parameters = np.concatenate([part.ravel() for pair in initial_weights(NETWORK) for part in pair])
    moments, gradient = np.zeros((2, parameters.size), np.float32), np.empty_like(parameters)
    read = train.reader(NETWORK.batch, train.outputs, parameters.dtype)
    batches = (Batch(*read(rows), 0.0) for rows in slices())
    learner.run(
        TrainState(parameters, moments, 0, gradient), Optimizer(Adam(), Schedule(NETWORK.learning_rate)), batches
    )
    return learner.read_loss() / (STEPS * NETWORK.batch)


def train_torch(directory: Path, as_bytes: bool) -> float:
    import torch

    torch.set_num_threads(1)
    parts = stored(directory)
    held = [(torch.from_numpy(X), torch.from_numpy(labels)) for X, labels in parts]
    if not as_bytes:
        held = [(X.float().div_(255), labels) for X, labels in held]
    del parts
    X, labels = held[0]
    model, loss_of = torch_model(NETWORK, initial_weights(NETWORK)), torch_loss(NETWORK)
    optimizer, total = torch_optimizer(NETWORK, model), 0.0
    for rows in slices():
        x = X[rows].float().div_(255) if as_bytes else X[rows]
        optimizer.zero_grad()
        loss = loss_of(model(x), labels[rows])
        loss.backward()
        optimizer.step()
        total += loss.item()
    return total / STEPS


def train_jax(directory: Path, as_bytes: bool) -> float:
    os.environ |= {"XLA_FLAGS": XLA_ONE_THREAD, "JAX_PLATFORMS": "cpu"}  # read when jax is imported
    import jax
    import jax.numpy as jnp

    parts = stored(directory)
    slope, update = jax.value_and_grad(jax_loss(NETWORK)), jax_update(NETWORK)
    scaled = jax.jit(lambda X: X.astype(jnp.float32) / 255)
    held = [(jnp.asarray(X), jnp.asarray(labels)) for X, labels in parts]
    if not as_bytes:
        held = [(scaled(X), labels) for X, labels in held]
    del parts
    X, labels = held[0]

    @partial(jax.jit, donate_argnums=(0, 1))
    def step(params: Any, state: Any, x: Any, labels: Any) -> Any:
        x = scaled(x) if as_bytes else x
        loss, gradients = slope(params, x, jax.nn.one_hot(labels, NETWORK.sizes[-1]))
        return *update(params, state, gradients), loss

    params = jax_params(initial_weights(NETWORK))
    state, total = jax_state(NETWORK, params), 0.0
    for rows in slices():
        params, state, loss = step(params, state, X[rows], labels[rows])
        total += float(loss)
    return total / STEPS


TRAINERS = {"psgd": train_psgd, "PyTorch": train_torch, "JAX": train_jax}


def stored(directory: Path) -> list[tuple[Any, Any]]:
    """[(images as bytes, labels)] of the training and of the test part."""
    return [(part.inputs, part.targets) for part in load_idx_directory(directory)]


def slices() -> list[slice]:
    """The rows of each step."""
    size = NETWORK.batch
    return [slice(step * size, (step + 1) * size) for step in range(STEPS)]


if __name__ == "__main__":
    contender, directory, kept = sys.argv[1:]
    print(json.dumps(TRAINERS[contender](Path(directory), kept == "bytes")))
