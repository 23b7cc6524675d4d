"""Whether all that a worker has computed is finite."""

import math

import numpy as np

from psgd.core.worker_state import WorkerState


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


def _largest(vector: np.ndarray) -> int:
    """The index of the first element that is not finite, or else of the largest."""
    bad = np.flatnonzero(~np.isfinite(vector))
    return int(bad[0]) if bad.size else int(np.argmax(np.abs(vector)))
