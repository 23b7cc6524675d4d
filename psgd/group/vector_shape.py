"""The shape of the vectors that a job moves, and the memory that the processes of a host share for them."""

from typing import NamedTuple

import numpy as np


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
    def shared_bytes(self) -> int:
        """The most that one host shares: contributions, sums of subtrees, two replicas and the reduced vector."""
        vectors = (self.workers * 2 + 1) * self.contribution_rows + 2 * (1 + self.state_rows)
        return int(vectors * self.parameters * self.dtype.itemsize)
