"""Whether all that a worker has computed is finite, and the replica; and what ends the training where it is not."""

import math

import numpy as np

from psgd.core.errors import Diverged
from psgd.core.replica import Replica
from psgd.core.worker_state import WorkerState
from psgd.group.reports import RoundReports
from psgd.learners.learner import Learner
from psgd.strategy.applications import OuterStep
from psgd.strategy.strategy import Strategy


def first_nonfinite(worker: WorkerState, at_end: bool) -> int:
    """The index in the worker's vector that is not finite, the number of parameters if only the loss is not finite, or
    -1. At the end of a round the optimizer's vectors are checked too.

    The check is one dot product: an element so large that its square overflows counts as not finite, since it would
    make the optimizer's state so."""
    vector = worker.vector
    if not math.isfinite(vector.dot(vector)):
        return _largest(vector)
    if at_end:
        for moments in worker.optimizer_vectors:
            if not math.isfinite(moments.sum()):
                return _largest(moments)
    return -1 if math.isfinite(worker.loss) else vector.size


def nonfinite_worker(reports: RoundReports, learner: Learner, strategy: Strategy, round: int) -> Diverged:
    """Return the error that names the first worker that is not finite, and where."""
    worker = reports.nonfinite_workers[0]
    where = learner.name(reports.first_nonfinite[worker])
    return Diverged(
        f"worker {worker}, round {round}: {where} is not finite. Lower {learning_rates(strategy)} or set "
        "optimizer.clip_norm; training.on_nonfinite: exclude goes on without it"
    )


def learning_rates(strategy: Strategy) -> str:
    """The settings that may be too large where training diverges."""
    outer = isinstance(strategy.application, OuterStep)
    return "optimizer.learning_rate" + " or strategy.outer.learning_rate" * outer


def check_replica_finite(replica: Replica) -> None:
    """Diverged if a combination of finite contributions is not finite."""
    if not np.isfinite(replica.vectors).all():
        raise Diverged(f"round {replica.progress.round}: the combined parameters are not finite; they were not saved")


def _largest(vector: np.ndarray) -> int:
    """The index of the first element that is not finite, or else of the largest."""
    bad = np.flatnonzero(~np.isfinite(vector))
    return int(bad[0]) if bad.size else int(np.argmax(np.abs(vector)))
