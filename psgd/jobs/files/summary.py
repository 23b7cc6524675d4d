"""The result of a run: the keys of summary.json, on which scripts rely."""

import hashlib
import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from psgd.backends.blas import describe_blas
from psgd.config.settings import Settings
from psgd.jobs.environment import devices
from psgd.training.loop import Loop
from psgd.training.stopwatch import TRAINING_PARTS


def parameters_sha256(parameters: np.ndarray) -> str:
    """SHA-256 of the little-endian float bytes of the parameter vector."""
    return hashlib.sha256(parameters.astype(parameters.dtype.newbyteorder("<")).tobytes()).hexdigest()


def summarize(
    settings: Settings, loop: Loop, examples: int, status: str, processes: list[dict[str, Any]]
) -> dict[str, Any]:
    """The summary of a run that ended with `status`; `examples`: in one epoch; `processes`: as `describe_group` returns
    them."""
    progress, transport, seconds = loop.replica.progress, loop.group.transport, loop.stopwatch.train_seconds
    blas = describe_blas()
    return {
        "status": status,
        "strategy": settings.strategy.name,
        "group": transport.kind,
        "device": devices(processes),
        "workers": settings.workers,
        "processes": len(transport.members),
        "hosts": len({process["host"] for process in processes}),
        "rounds": progress.round,
        "epochs": progress.position / examples,
        "examples": progress.examples,
        "examples_per_epoch": examples,
        "train_seconds": seconds,
        **{f"{part}_seconds": loop.stopwatch.seconds[part] for part in TRAINING_PARTS},
        "examples_per_second": progress.examples / seconds if seconds else None,
        "bytes_sent_per_worker": loop.bytes_sent,
        **loop.scores,
        **_evaluated(loop, examples),
        "parameters_sha256": parameters_sha256(loop.result.parameters),
        "blas": f"{blas['name']} {blas['version']} {blas['kernel']}",
        "worker_steps": list(progress.worker_steps),
        "last_weights": list(progress.last_weights),
    }


def _evaluated(loop: Loop, examples: int) -> dict[str, Any]:
    """When the scores were made, unless at the end of training: at the best evaluation, with the parameters that are
    the result; or some time before a stop, whose parameters are not scored: on large data, that would delay it."""
    progress, best = loop.replica.progress, loop.early_stop.best
    if loop.finished:
        return {"best_epoch": best.position / examples, "best_round": best.round} if best else {}
    older = loop.scores and progress.evaluated < progress.position
    return {"scores_epoch": progress.evaluated / examples} if older else {}


def rounded(summary: Mapping[str, Any]) -> dict[str, Any]:
    """The summary with as many digits as people read. Programs that need all of them read summary.json."""
    return {name: _rounded(name, value) for name, value in summary.items()}


def _rounded(name: str, value: Any) -> Any:
    """Round times to a millisecond (short ones to 4 significant digits), rates to 4 digits, other numbers to 6."""
    if isinstance(value, list):
        return [_rounded(name, each) for each in value]
    if not isinstance(value, float) or not math.isfinite(value):
        return value
    if name.endswith("_seconds"):
        return round(value, 3) if value >= 1 else float(f"{value:.4g}")
    if name.endswith("_per_second"):
        return int(float(f"{value:.4g}")) if value >= 1000 else float(f"{value:.4g}")
    return float(f"{value:.6g}")
