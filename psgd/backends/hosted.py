"""The protocol of devices that take the steps of all workers of a process at once, such as a GPU.

A `Backend` computes one worker's step at a time, on arrays in memory, and returns when it is done. A device is fast
only where steps of several workers, and many steps in a row, are asked for together and waited for once.
"""

from collections.abc import Sequence
from typing import NamedTuple, Protocol

import numpy as np

from psgd.backends.backend import Network


class HostedTask(NamedTuple):
    """All that a device must know of a job: plain values, and the training data."""

    network: Network
    loss: str  # its name in a config
    huber_threshold: float
    l1: float
    l2: float
    rule: str | None  # an optimizer's rule by its name in optimizers/rules.py; None: the contribution is a gradient
    clip_norm: float | None
    plain: bool  # whether a step of the rule is p -= rate g and nothing else
    batch: int  # B: examples of a step
    inputs: np.ndarray  # (N, F), as stored
    labels: np.ndarray | None  # (N,) classes; None: `targets` are given
    targets: np.ndarray | None  # (N, O)
    scale: float  # multiplies inputs
    contribution_rows: int  # C
    moment_rows: int  # R: of a worker's own moments
    state_rows: int  # of the replica, beside the parameters
    averages_moments: bool  # whether the moments are contribution[1:]
    tf32: bool = False  # whether products may be rounded to TF32


class Orders(NamedTuple):
    """What the steps of a segment need, in memory from which the device copies fast. Slots are the workers of this
    process, in their order. The caller fills [:steps]."""

    rows: np.ndarray  # (S, W, B) int32: row numbers of the examples
    factors: np.ndarray  # (S, W, 4) float64: factors of the rule; unused ones are 0
    limits: np.ndarray  # (W,) int32: steps that each slot takes, at most those of the segment


class Segment(NamedTuple):
    """What comes back from the device at the end of a segment."""

    loss: np.ndarray  # (W,) float64: sum over the examples of the segment
    first_nonfinite: np.ndarray  # (W,) int64: the first index that is not finite, or -1


class HostedWorkers(Protocol):
    """The workers of one process on a device. All but `finish` and `wait` only queue work: arrays that they are given
    must not be touched before one of these returns."""

    name: str  # for people, such as "cuda: NVIDIA H100 80GB HBM3"

    def host(self, workers: int) -> Orders:
        """Make room for so many workers. All vectors on the device are undefined then."""
        ...

    def set_replica(self, vectors: np.ndarray) -> None:
        """`vectors` (1 + state_rows, P)."""
        ...

    def set_worker(self, slot: int, contribution: np.ndarray | None, moments: np.ndarray) -> None:
        """`contribution` (C, P): None if the worker will `start`. `moments` (R, P)."""
        ...

    def get_worker(self, slot: int, contribution: np.ndarray | None, moments: np.ndarray | None) -> None:
        """Copy the worker's vectors into these arrays."""
        ...

    def start(self, slots: Sequence[int], zero_moments: bool) -> None:
        """Begin a round of local steps: each of these contributions becomes the first C rows of the replica."""
        ...

    def run(self, steps: int, ends: Sequence[bool]) -> None:
        """Take the steps that the orders say: slot w takes the first limits[w] of `steps`. `ends`: whether each slot's
        round ends with this segment; then its optimizer's vectors are checked for finite values as well."""
        ...

    def finish(self) -> Segment:
        """Wait for all that was queued since the last call: the only synchronisation of a segment."""
        ...

    def wait(self) -> None:
        """Wait for all that was queued, outside a segment."""
        ...
