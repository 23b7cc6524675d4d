"""The result of a run, as scripts rely on it (DESIGN: summary.json), and its model file."""

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np

from psgd.backends.blas import describe
from psgd.core.version import __version__
from psgd.data.dataset import Data
from psgd.learners.mlp import MLP
from psgd.learners.sparse_linear import SparseLinear
from psgd.training.checkpoint_files import write_arrays
from psgd.training.loop import Loop

Settings = dict[str, Any]


def parameters_sha256(parameters: np.ndarray) -> str:
    """Of the little-endian float bytes of the parameter vector."""
    return hashlib.sha256(parameters.astype(parameters.dtype.newbyteorder("<")).tobytes()).hexdigest()


def summarize(settings: Settings, loop: Loop, examples: int, status: str) -> dict[str, Any]:
    """`examples`: of an epoch."""
    progress, transport = loop.replica.progress, loop.group.transport
    seconds = loop.stopwatch.train_seconds
    blas = describe()
    return {
        "status": status,
        "strategy": settings["strategy"]["name"],
        "group": transport.kind,
        "device": "cpu",
        "workers": settings["workers"],
        "processes": len(transport.members),
        "hosts": len(set(transport.hosts)),
        "rounds": progress.round,
        "epochs": progress.position / examples,
        "examples": progress.examples,
        "train_seconds": seconds,
        "compute_seconds": loop.stopwatch.seconds["compute"],
        "wait_seconds": loop.stopwatch.seconds["wait"],
        "combine_seconds": loop.stopwatch.seconds["combine"],
        "examples_per_second": progress.examples / seconds if seconds else None,
        "bytes_sent_per_worker": loop.bytes_sent,
        **loop.scores,
        "parameters_sha256": parameters_sha256(loop.replica.parameters),
        "blas": f"{blas['name']} {blas['version']} {blas['kernel']}",
        "worker_steps": list(progress.worker_steps),
        "last_weights": list(progress.last_weights),
    }


def write_model(
    path: Path, settings: Settings, learner: MLP | SparseLinear, parameters: np.ndarray, data: Data
) -> None:
    """Weights (inputs, outputs) and biases of each layer, and what it takes to use them: psgd/model.py reads it."""
    arrays, kind = {}, "mlp"
    if isinstance(learner, SparseLinear):
        kind = "sparse-linear"
        arrays = {"weights": parameters[:-1, None], "bias": parameters[-1:]}
    else:
        for number, (W_IO, b_O) in enumerate(learner.layout.views(parameters), 1):
            arrays[f"layers.{number}.weights"], arrays[f"layers.{number}.biases"] = W_IO, b_O
    about = {
        "psgd": __version__,
        "kind": kind,
        "sizes": list(learner.layout.sizes),
        "model": settings["model"],
        "classes": data.preparation.get("classes") or list(range(data.train.classes)),  # their names; [] = regression
        "preparation": {key: value for key, value in data.preparation.items() if key != "classes"},
    }
    write_arrays(path, arrays, {"psgd": json.dumps(about, sort_keys=True)})
