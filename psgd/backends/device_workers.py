"""The protocol of devices that take the steps of all workers of a process at once, such as a GPU.

A `Backend` computes one worker's step at a time, on arrays in memory, and returns when it is done. A device is fast
only where steps of several workers, and many steps in a row, are asked for together and waited for once.
"""

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import NamedTuple, Protocol

import numpy as np

from psgd.backends.backend import Network


class Scored(NamedTuple):
    """Data that the replica is scored on."""

    inputs: np.ndarray  # (N, F), as stored, times `DeviceTask.scale`
    labels: np.ndarray | None  # (N,) classes; None: `targets` are given
    targets: np.ndarray | None  # (N, O)


class ReplicaStep(NamedTuple):
    """The optimizer step by which a combination changes the replica, along the averaged gradient."""

    rule: str  # its name in optimizers/rules.py
    clip_norm: float | None


class DeviceTask(NamedTuple):
    """All that a device must know of a job: plain values, and the data."""

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
    replica_step: ReplicaStep | None = None  # None: the averaged contribution is the next replica
    threshold: float = 0.5  # a single output above it predicts the second of two classes
    scored: Mapping[str, Scored] = MappingProxyType({})  # by the name of the part: validation, test


class SegmentInputs(NamedTuple):
    """What the steps of a segment need, in memory from which the device copies fast. Slots are the workers of this
    process, in their order. The caller fills [:steps]."""

    rows: np.ndarray  # (S, W, B) int32: row numbers of the examples
    factors: np.ndarray  # (S, W, 4) float64: factors of the rule; unused ones are 0
    limits: np.ndarray  # (W,) int32: steps that each slot takes, at most those of the segment


class Segment(NamedTuple):
    """What comes back from the device at the end of a segment."""

    loss: np.ndarray  # (W,) float64: sum over the examples of the segment
    first_nonfinite: np.ndarray  # (W,) int64: the first index that is not finite, or -1


class DeviceWorkers(Protocol):
    """The workers of one process on a device. All but `finish` and `wait` only queue work: arrays that they are given
    must not be touched before one of these returns."""

    name: str  # for people, such as "cuda: NVIDIA H100 80GB HBM3"

    def host(self, workers: int) -> SegmentInputs:
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
        """Take the steps of a segment: slot w takes the first limits[w] of `steps`. `ends`: whether each slot's
        round ends with this segment; then its optimizer's vectors are checked for finite values as well. If the
        contribution is a gradient, that of a slot without a step is undefined afterwards."""
        ...

    def share(self) -> bytes:
        """What the other processes of this host need to reach the vectors of these workers; as many bytes from each
        process. After `host`."""
        ...

    def connect(self, rows: Sequence[bytes], rank: int) -> None:
        """From now on combine with all processes of this job, which are on this host, each on a device and with workers
        in the order of their numbers: what each `share`d. `rank`: of this one among them. UsageError if the memory of
        another one cannot be reached."""
        ...

    def reduce(self, weights: np.ndarray) -> None:
        """The sum of all contributions by `weights` (workers of the job,) in the vectors' dtype, with the bits of
        group/tree_reduce.py: this process's part of it, into the replicas of all processes; where a replica takes a
        step, into memory of theirs from which they `apply` it. With several processes, all must have finished their
        segment before, and this must be waited for on all of them before they go on."""
        ...

    def apply(self, factors: Sequence[float]) -> None:
        """Take the replica's step with these factors of its rule."""
        ...

    def get_replica(self, vectors: np.ndarray) -> None:
        """Copy the replica (1 + state_rows, P) into `vectors`."""
        ...

    def get_parameters(self, part: slice) -> np.ndarray:
        """Copy the part of the replica's parameters that a digest covers, into memory to which the device copies fast.
        Return that memory: it has the copy until the next call."""
        ...

    def score(self, part: str, rows: Sequence[slice], table: np.ndarray) -> None:
        """Score the replica on each of these ranges of rows of a part of the data -> `table` (len(rows), 2) float64:
        sum of the losses, and number of right answers, which means nothing without classes. All ranges but the last
        have the same length."""
        ...

    def finish(self) -> Segment:
        """Wait for all that was queued since the last call: the only synchronisation of a segment."""
        ...

    def wait(self) -> None:
        """Wait for all that was queued, outside a segment."""
        ...
