"""Make tests/references/*.npz: small trainings by PyTorch that ours must agree with (needs: pip install torch).

    python scripts/make_references.py tests/references

Each file holds one network's start and batches, and where every optimizer ends in float32 and float64. Nothing of psgd
is imported. Inputs and targets are small integers over a power of two: exact in both precisions, and no random stream
has to stay as it is. The networks and optimizers are described where they are built, below.
"""

import argparse
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

STEPS, BATCH, SIZES = 50, 20, (12, 16, 8, 5)
UNIT = 32.0  # inputs are bytes over this
TARGET_UNIT = 128.0
NETWORKS = ("relu", "sigmoid")
OPTIMIZERS = ("momentum", "nesterov", "adam", "adam_short", "amsgrad_short")
L2 = {"relu": 0.0, "sigmoid": 0.01}  # on weights, not on biases
SGD_RATE, ADAM_RATE = 0.05, 0.01
SHORT = (0.9, 0.9)  # a memory so short that squared gradients shrink within the steps: else AMSGrad is Adam


def problem(network: str) -> dict[str, np.ndarray]:
    """start (P,): W (I, O) row-major, then b (O,), layer by layer; X (steps, batch, features) bytes; T (steps, batch)
    labels, or (steps, batch, outputs) bytes."""
    draw = np.random.Generator(np.random.Philox(NETWORKS.index(network)))
    parts = []
    for inputs, outputs in pairwise(SIZES):
        parts += [draw.normal(scale=np.sqrt(2 / inputs), size=inputs * outputs), draw.normal(scale=0.1, size=outputs)]
    X = draw.integers(-64, 65, (STEPS, BATCH, SIZES[0])).astype(np.int8)
    # Something that can be learned: what a random linear map of the inputs makes largest.
    outputs = X @ draw.normal(size=(SIZES[0], SIZES[-1]))
    if network == "relu":
        T = outputs.argmax(axis=2).astype(np.int8)
    else:
        T = np.round(TARGET_UNIT / (1 + np.exp(-outputs / 200))).astype(np.uint8)
    return {"start": np.concatenate(parts), "X": X, "T": T}


def final(network: str, optimizer: str, dtype: str, given: dict[str, np.ndarray]) -> np.ndarray:
    """The parameters (P,) after all steps, by PyTorch."""
    import torch

    precision = getattr(torch, dtype)
    weights, biases, start = [], [], 0
    for inputs, outputs in pairwise(SIZES):
        middle, end = start + inputs * outputs, start + (inputs + 1) * outputs
        weights.append(torch.tensor(given["start"][start:middle].reshape(inputs, outputs), dtype=precision))
        biases.append(torch.tensor(given["start"][middle:end], dtype=precision))
        start = end
    everything = [p.requires_grad_() for pair in zip(weights, biases, strict=True) for p in pair]
    groups = [{"params": weights, "weight_decay": L2[network]}, {"params": biases}]
    method: Any = {
        "momentum": lambda: torch.optim.SGD(groups, SGD_RATE, momentum=0.9),
        "nesterov": lambda: torch.optim.SGD(groups, SGD_RATE, momentum=0.9, nesterov=True),
        "adam": lambda: torch.optim.Adam(groups, ADAM_RATE),
        "adam_short": lambda: torch.optim.Adam(groups, ADAM_RATE, SHORT),
        "amsgrad_short": lambda: torch.optim.Adam(groups, ADAM_RATE, SHORT, amsgrad=True),
    }[optimizer]()
    for X, T in zip(given["X"], given["T"], strict=True):
        z = torch.tensor(X, dtype=precision) / UNIT
        for W, b in zip(weights, biases, strict=True):
            a = z @ W + b
            z = torch.relu(a) if network == "relu" else torch.sigmoid(a)
        if network == "relu":  # softmax and cross-entropy, of the outputs before any activation
            loss = torch.nn.functional.cross_entropy(a, torch.tensor(T, dtype=torch.int64))
        else:  # half the squared error summed over outputs, its mean over examples
            loss = 0.5 * ((z - torch.tensor(T, dtype=precision) / TARGET_UNIT) ** 2).sum() / BATCH
        method.zero_grad()
        loss.backward()
        method.step()
    return torch.cat([p.detach().flatten() for p in everything]).numpy()


def main() -> None:
    parser = argparse.ArgumentParser(description="Make the reference trainings; needs PyTorch.")
    parser.add_argument("directory", type=Path, help="where the .npz files are written")
    directory = parser.parse_args().directory
    try:
        import torch
    except ImportError:
        raise SystemExit("this needs PyTorch: pip install torch") from None
    torch.set_num_threads(1)
    directory.mkdir(parents=True, exist_ok=True)
    for network in NETWORKS:
        given = problem(network)
        finals = {
            f"{optimizer}_{dtype}": final(network, optimizer, dtype, given)
            for optimizer in OPTIMIZERS
            for dtype in ("float32", "float64")
        }
        path = directory / f"{network}.npz"
        np.savez_compressed(path, made_by=np.array(f"torch {torch.__version__}"), **given, **finals)
        print(f"{path}: {path.stat().st_size} bytes")


if __name__ == "__main__":
    main()
