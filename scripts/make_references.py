"""Make tests/references/*.npz: small trainings by PyTorch with which psgd's must agree (needs: pip install torch).

    python scripts/make_references.py tests/references

Each file holds the initial parameters and the batches of one network, and the final parameters by each optimizer in
float32 and float64. psgd is not imported. Inputs and targets are small integers over a power of two, which are exact in
both precisions. They are stored, so the tests do not depend on a random stream.
"""

import argparse
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

STEPS, BATCH, SIZES = 50, 20, (12, 16, 8, 5)
UNIT = 32.0  # inputs are bytes divided by it
TARGET_UNIT = 128.0
NETWORKS = ("relu", "sigmoid")
OPTIMIZERS = ("momentum", "nesterov", "adam", "adam_short", "amsgrad_short")
L2 = {"relu": 0.0, "sigmoid": 0.01}  # on weights, not on biases
SGD_RATE, ADAM_RATE = 0.05, 0.01
SHORT = (0.9, 0.9)  # betas so small that second moments shrink within the steps: else AMSGrad is the same as Adam


def problem(network: str) -> dict[str, np.ndarray]:
    """Draw start (P,), of each layer W (I, O) row-major and then b (O,); X (steps, batch, features) bytes; T, labels
    (steps, batch) or bytes (steps, batch, outputs)."""
    draw = np.random.Generator(np.random.Philox(NETWORKS.index(network)))
    parts = []
    for inputs, outputs in pairwise(SIZES):
        parts += [draw.normal(scale=np.sqrt(2 / inputs), size=inputs * outputs), draw.normal(scale=0.1, size=outputs)]
    X = draw.integers(-64, 65, (STEPS, BATCH, SIZES[0])).astype(np.int8)
    # Targets that can be learned: they are computed from a random linear map of the inputs.
    outputs = X @ draw.normal(size=(SIZES[0], SIZES[-1]))
    if network == "relu":
        T = outputs.argmax(axis=2).astype(np.int8)
    else:
        T = np.round(TARGET_UNIT / (1 + np.exp(-outputs / 200))).astype(np.uint8)
    return {"start": np.concatenate(parts), "X": X, "T": T}


def final(network: str, optimizer: str, dtype: str, given: dict[str, np.ndarray]) -> np.ndarray:
    """Train by PyTorch and return the final parameters (P,)."""
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
        if network == "relu":  # softmax and cross-entropy of the logits
            loss = torch.nn.functional.cross_entropy(a, torch.tensor(T, dtype=torch.int64))
        else:  # half the squared error, summed over outputs, averaged over examples
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
