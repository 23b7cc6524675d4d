"""Rows of a dense data set gathered into a batch."""

import numpy as np

# Elements of a part that is scaled while it is still in the cache: 1 MiB of float32. Larger parts mean fewer calls.
SCALED_ELEMENTS = 262144


def gather(inputs: np.ndarray, rows: np.ndarray | slice, scale: float, X_BI: np.ndarray) -> None:
    """As Backend.gather. numpy is slow to multiply rows with gaps: the scale goes over the column of ones too."""
    picked = inputs[rows] if isinstance(rows, slice) else inputs.take(rows, axis=0)
    if scale == 1.0:
        np.copyto(X_BI[:, :-1], picked, casting="same_kind")
    else:
        factor, size = X_BI.dtype.type(scale), max(1, SCALED_ELEMENTS // X_BI.shape[1])
        for start in range(0, len(X_BI), size):
            part = X_BI[start : start + size]
            np.copyto(part[:, :-1], picked[start : start + size], casting="same_kind")
            np.multiply(part, factor, part)
    X_BI[:, -1] = 1.0
