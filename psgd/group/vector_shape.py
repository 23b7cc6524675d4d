"""The shape of the vectors that a job moves."""

from typing import NamedTuple

import numpy as np

from psgd.group.spin_barrier import CACHE_LINE_BYTES


class VectorShape(NamedTuple):
    """The shape of the vectors that a job moves."""

    workers: int
    parameters: int  # P
    state_rows: int  # of the replica, beside the parameters
    contribution_rows: int  # C
    dtype: np.dtype

    @property
    def contribution_bytes(self) -> int:
        return self.contribution_rows * self.parameters * self.dtype.itemsize

    @property
    def contribution_stride(self) -> int:
        """Bytes from one contribution to the next in memory: each starts on a cache line."""
        return -(-self.contribution_bytes // CACHE_LINE_BYTES) * CACHE_LINE_BYTES
