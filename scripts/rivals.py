"""The networks of record in PyTorch and JAX: the same model, loss, optimizer and initial weights as psgd's, in each
library's usual style. Both are imported in functions, so that a benchmark runs where one of them is missing.
"""

from collections.abc import Callable, Iterable
from functools import partial
from typing import Any, NamedTuple

import numpy as np
from networks import Network

Weights = list[tuple[np.ndarray, np.ndarray]]  # (W_IO, b_O) of each layer, float32
JaxLoss = Callable[[Any, Any, Any], Any]  # (params, X_BF, T_BO) -> mean loss of the batch
JaxUpdate = Callable[[Any, Any, Any], tuple[Any, Any]]  # (params, state, gradients) -> (params, state)

INSTALL = {name: f"pip install {name}" for name in ("torch", "jax", "numba")}
# XLA reads these flags when jax is imported; without them it starts a thread a core.
XLA_ONE_THREAD = "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1"
BETA1, BETA2, EPSILON = 0.9, 0.999, 1e-8  # Adam's: the defaults of psgd and PyTorch, and of Keras but for its epsilon


class Trainer(NamedTuple):
    """A contender with its model and batches."""

    train: Callable[[], float]  # takes one pass over the batches, returns the sum of their mean losses
    weights: Callable[[], Weights]
    steps: int  # in a pass


def initial_weights(network: Network, seed: int = 0) -> Weights:
    """Glorot's uniform weights and zero biases, drawn by numpy: the start of all contenders."""
    random = np.random.default_rng(seed)
    weights = []
    for inputs, outputs in zip(network.sizes[:-1], network.sizes[1:], strict=True):
        bound = np.sqrt(6.0 / (inputs + outputs))
        W_IO = random.uniform(-bound, bound, (inputs, outputs)).astype(np.float32)
        weights.append((W_IO, np.zeros(outputs, np.float32)))
    return weights


def torch_model(network: Network, weights: Weights) -> Any:
    """An nn.Sequential. Its last activation is left to the loss where PyTorch has a loss of logits."""
    import torch
    from torch import nn

    activation = {"relu": nn.ReLU, "sigmoid": nn.Sigmoid}[network.activation]
    layers: list[Any] = []
    for W_IO, b_O in weights:
        linear = nn.Linear(*W_IO.shape)
        with torch.no_grad():
            linear.weight.copy_(torch.from_numpy(W_IO.T))
            linear.bias.copy_(torch.from_numpy(b_O))
        layers += [linear, activation()]
    layers.pop()
    if network.loss == "squared-error":
        layers.append(nn.Sigmoid())
    return nn.Sequential(*layers)


def torch_loss(network: Network) -> Callable[[Any, Any], Any]:
    """A function from the outputs of torch_model and the targets of torch_targets to the mean loss of the batch."""
    from torch.nn import functional as F

    def squared(A_BO: Any, T_BO: Any) -> Any:
        return F.mse_loss(A_BO, T_BO, reduction="sum") * (0.5 / len(T_BO))

    losses = {
        "squared-error": squared,
        "cross-entropy": F.cross_entropy,
        "binary-cross-entropy": F.binary_cross_entropy_with_logits,
    }
    return losses[network.loss]


def torch_targets(network: Network, T_BO: np.ndarray) -> Any:
    """Targets (..., O) for PyTorch's loss: labels (...) for cross-entropy, else unchanged."""
    import torch

    return torch.from_numpy(T_BO.argmax(-1) if network.loss == "cross-entropy" else T_BO)


def torch_optimizer(network: Network, model: Any) -> Any:
    """PyTorch's fused optimizer, its fastest on a CPU."""
    import torch

    if network.optimizer == "adam":
        return torch.optim.Adam(
            model.parameters(), lr=network.learning_rate, betas=(BETA1, BETA2), eps=EPSILON, fused=True
        )
    return torch.optim.SGD(model.parameters(), lr=network.learning_rate, fused=True)


def jax_params(weights: Weights) -> Any:
    import jax.numpy as jnp

    return [(jnp.array(W_IO), jnp.array(b_O)) for W_IO, b_O in weights]


def jax_loss(network: Network) -> JaxLoss:
    """The mean loss as a function of (params, X_BF, T_BO), T_BO one-hot for classes."""
    import jax
    import jax.numpy as jnp

    activation = {"relu": jax.nn.relu, "sigmoid": jax.nn.sigmoid}[network.activation]

    def logits(params: Any, X_BF: Any) -> Any:
        for W_IO, b_O in params[:-1]:
            X_BF = activation(X_BF @ W_IO + b_O)
        W_IO, b_O = params[-1]
        return X_BF @ W_IO + b_O

    def squared(Z_BO: Any, T_BO: Any) -> Any:
        return 0.5 * jnp.sum((jax.nn.sigmoid(Z_BO) - T_BO) ** 2)

    def cross_entropy(Z_BO: Any, T_BO: Any) -> Any:
        return -jnp.sum(T_BO * jax.nn.log_softmax(Z_BO))

    def binary(Z_BO: Any, T_BO: Any) -> Any:
        return jnp.sum(jax.nn.softplus(Z_BO) - Z_BO * T_BO)

    losses = {"squared-error": squared, "cross-entropy": cross_entropy, "binary-cross-entropy": binary}
    of_logits = losses[network.loss]

    def loss(params: Any, X_BF: Any, T_BO: Any) -> Any:
        return of_logits(logits(params, X_BF), T_BO) / X_BF.shape[0]

    return loss


def jax_state(network: Network, params: Any) -> Any:
    """The optimizer's initial state: Adam's moments and step count, nothing for SGD."""
    import jax
    import jax.numpy as jnp

    if network.optimizer != "adam":
        return ()
    return jax.tree.map(jnp.zeros_like, params), jax.tree.map(jnp.zeros_like, params), jnp.zeros((), jnp.float32)


def jax_update(network: Network) -> JaxUpdate:
    """The optimizer's step as a function of (params, state, gradients)."""
    import jax
    import jax.numpy as jnp

    rate = network.learning_rate

    def sgd(params: Any, state: Any, gradients: Any) -> tuple[Any, Any]:
        return jax.tree.map(lambda p, g: p - rate * g, params, gradients), state

    def adam(params: Any, state: Any, gradients: Any) -> tuple[Any, Any]:
        means, squares, count = state
        count = count + 1
        means = jax.tree.map(lambda m, g: BETA1 * m + (1 - BETA1) * g, means, gradients)
        squares = jax.tree.map(lambda v, g: BETA2 * v + (1 - BETA2) * g * g, squares, gradients)
        first, second = rate / (1 - BETA1**count), 1 / jnp.sqrt(1 - BETA2**count)
        params = jax.tree.map(lambda p, m, v: p - first * m / (jnp.sqrt(v) * second + EPSILON), params, means, squares)
        return params, (means, squares, count)

    return adam if network.optimizer == "adam" else sgd


def torch_pass(model: Any, loss_of: Callable[[Any, Any], Any], optimizer: Any, batches: Iterable[Any]) -> Any:
    """Take one step a batch; return the sum of their mean losses."""
    import torch

    total = torch.zeros(())
    for X_BF, T_BO in batches:
        optimizer.zero_grad()
        loss = loss_of(model(X_BF), T_BO)
        loss.backward()
        optimizer.step()
        total += loss.detach()
    return total


def torch_trainer(network: Network, X_NBF: np.ndarray, T_NBO: np.ndarray) -> Trainer:
    """PyTorch in eager mode, on one thread, over N batches in memory."""
    import torch

    torch.set_num_threads(1)
    model, loss_of = torch_model(network, initial_weights(network)), torch_loss(network)
    optimizer = torch_optimizer(network, model)
    batches = list(zip(torch.from_numpy(X_NBF), torch_targets(network, T_NBO), strict=True))

    def train() -> float:
        return float(torch_pass(model, loss_of, optimizer, batches))

    def weights() -> Weights:
        linear = [layer for layer in model if isinstance(layer, torch.nn.Linear)]
        return [(layer.weight.detach().numpy().T, layer.bias.detach().numpy()) for layer in linear]

    return Trainer(train, weights, len(batches))


def jax_trainer(network: Network, X_NBF: np.ndarray, T_NBO: np.ndarray) -> Trainer:
    """JAX: one compiled scan over N batches in memory; parameters and the optimizer's state are donated."""
    import jax
    import jax.numpy as jnp

    slope, update = jax.value_and_grad(jax_loss(network)), jax_update(network)
    params = jax_params(initial_weights(network))
    state = jax_state(network, params)
    batches = jnp.array(X_NBF), jnp.array(T_NBO)

    def step(carry: Any, batch: Any) -> tuple[Any, None]:
        params, state, total = carry
        loss, gradients = slope(params, *batch)
        return (*update(params, state, gradients), total + loss), None

    @partial(jax.jit, donate_argnums=(0, 1))
    def scan(params: Any, state: Any, batches: Any) -> Any:
        return jax.lax.scan(step, (params, state, jnp.zeros(())), batches)[0]

    def train() -> float:
        nonlocal params, state
        params, state, total = scan(params, state, batches)
        return float(total)  # waits for the result

    return Trainer(train, lambda: jax.tree.map(np.asarray, params), len(X_NBF))
