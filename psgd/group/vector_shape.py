"""The shape of the vectors that a job moves, and the memory that the processes of a host share for them."""

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

    @property
    def shared_bytes(self) -> int:
        """The most that one host shares: contributions, sums of subtrees, two replicas and the reduced vector."""
        replica = (1 + self.state_rows) * self.parameters * self.dtype.itemsize
        return (self.workers * 2 + 1) * self.contribution_stride + 2 * replica
