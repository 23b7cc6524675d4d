"""The result of a run: the keys of summary.json, on which scripts rely."""

import hashlib
from typing import Any

import numpy as np

from psgd.backends.blas import describe
from psgd.config.settings import Settings
from psgd.training.loop import Loop
from psgd.training.stopwatch import TRAINING_PARTS


def parameters_sha256(parameters: np.ndarray) -> str:
    """SHA-256 of the little-endian float bytes of the parameter vector."""
    return hashlib.sha256(parameters.astype(parameters.dtype.newbyteorder("<")).tobytes()).hexdigest()


def summarize(settings: Settings, loop: Loop, examples: int, status: str) -> dict[str, Any]:
    """The summary of a run that ended with `status`; `examples`: in one epoch."""
    progress, transport, seconds = loop.replica.progress, loop.group.transport, loop.stopwatch.train_seconds
    blas, best = describe(), loop.early_stop.best
    return {
        "status": status,
        "strategy": settings.strategy.name,
        "group": transport.kind,
        "device": "cpu",
        "workers": settings.workers,
        "processes": len(transport.members),
        "hosts": len(set(transport.hosts)),
        "rounds": progress.round,
        "epochs": progress.position / examples,
        "examples": progress.examples,
        "train_seconds": seconds,
        **{f"{part}_seconds": loop.stopwatch.seconds[part] for part in TRAINING_PARTS},
        "examples_per_second": progress.examples / seconds if seconds else None,
        "bytes_sent_per_worker": loop.bytes_sent,
        **loop.scores,
        **({"best_epoch": best.position / examples, "best_round": best.round} if best else {}),
        "parameters_sha256": parameters_sha256(loop.result.parameters),
        "blas": f"{blas['name']} {blas['version']} {blas['kernel']}",
        "worker_steps": list(progress.worker_steps),
        "last_weights": list(progress.last_weights),
    }
