"""Parity with PyTorch: psgd's learner and optimizers reach the same parameters after 50 steps, up to rounding.

The references were made by scripts/make_references.py and need no PyTorch; one test trains anew where it is installed.
"""

import importlib.util
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from distances import distance

from psgd.learners.layered_learner import WeightSettings
from psgd.learners.learner import Batch, TrainState
from psgd.learners.losses import LOSSES
from psgd.learners.mlp import MLP
from psgd.optimizers.optimizer import Optimizer
from psgd.optimizers.rules import SGD, Adam
from psgd.optimizers.schedule import Schedule

HERE = Path(__file__).parent
ALLOWED = {"float32": 1e-5, "float64": 1e-12}
OPTIMIZERS = {
    "momentum": Optimizer(SGD(0.9), Schedule(0.05)),
    "nesterov": Optimizer(SGD(0.9, nesterov=True), Schedule(0.05)),
    "adam": Optimizer(Adam(), Schedule(0.01)),
    "adam_short": Optimizer(Adam(0.9, 0.9), Schedule(0.01)),
    "amsgrad_short": Optimizer(Adam(0.9, 0.9, amsgrad=True), Schedule(0.01)),
}
CASES = [(n, o, d) for n in ("relu", "sigmoid") for o in OPTIMIZERS for d in ALLOWED]


def ours(network: str, optimizer: str, dtype: str, given: dict[str, np.ndarray]) -> np.ndarray:
    """The parameters after all batches, in one run of the learner."""
    if network == "relu":
        mlp = MLP((12, 16, 8, 5), "relu", "softmax", LOSSES["cross-entropy"], np.dtype(dtype))
        T = np.eye(5)[given["T"]]
    else:
        mlp = MLP(
            (12, 16, 8, 5), "sigmoid", "sigmoid", LOSSES["squared-error"], np.dtype(dtype), WeightSettings(l2=0.01)
        )
        T = given["T"] / 128.0
    X = np.concatenate([given["X"] / 32.0, np.ones((50, 20, 1))], axis=2)
    batches = [Batch(X_BI.astype(dtype), T_BO.astype(dtype), 0.0) for X_BI, T_BO in zip(X, T, strict=True)]
    assert len(batches) == 50
    p = given["start"].astype(dtype)
    moments = np.zeros((OPTIMIZERS[optimizer].moment_rows, p.size), dtype)
    mlp.run(TrainState(p, moments, 0, np.empty_like(p)), OPTIMIZERS[optimizer], batches)
    return p


@pytest.mark.parametrize(("network", "optimizer", "dtype"), CASES)
def test_parameters_equal_the_reference(network, optimizer, dtype):
    with np.load(HERE / "references" / f"{network}.npz") as file:
        given = dict(file)
    reference = given[f"{optimizer}_{dtype}"]
    assert reference.dtype == np.dtype(dtype)
    moved = distance(given["start"].astype(dtype), reference)
    error = distance(ours(network, optimizer, dtype, given), reference)
    print(f"{network} {optimizer} {dtype}: error {error:.2e}, way {moved:.2f}")
    assert moved > 0.1  # the parameters did change
    assert error < ALLOWED[dtype]


def test_the_references_differ_from_each_other():
    """The results of any two optimizers differ by more than the tolerance."""
    for network in ("relu", "sigmoid"):
        with np.load(HERE / "references" / f"{network}.npz") as file:
            finals = [file[f"{optimizer}_float64"] for optimizer in OPTIMIZERS]
        for i, a in enumerate(finals):
            assert all(distance(a, b) > 1e-3 for b in finals[:i])


def script() -> ModuleType:
    """scripts/make_references.py, which is in no package."""
    spec = importlib.util.spec_from_file_location("make_references", HERE.parent / "scripts" / "make_references.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_parameters_equal_those_of_the_installed_pytorch():
    pytest.importorskip("torch", reason="PyTorch is not installed; the stored references are compared all the same")
    make = script()
    for network in make.NETWORKS:
        with np.load(HERE / "references" / f"{network}.npz") as file:
            given = dict(file)
        for optimizer in OPTIMIZERS:
            for dtype, allowed in ALLOWED.items():
                theirs = make.final(network, optimizer, dtype, given)
                assert distance(ours(network, optimizer, dtype, given), theirs) < allowed
