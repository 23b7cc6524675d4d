"""The replica: what all workers agree on, and what a newcomer receives."""

import zlib
from typing import NamedTuple, final

import numpy as np

_DIGEST = 1024  # parameters that a digest covers


class Progress(NamedTuple):
    """How far the training is. Plain numbers: a step back, a resume and a newcomer get them with the vectors."""

    round: int = 0
    position: int = 0  # examples dealt since the start; the epoch is position / examples
    steps: int = 0  # optimizer steps of the fastest worker: Adam's t
    evaluated: int = 0  # position of the last evaluation
    reached: bool = False  # the target is
    combinations: int = 0
    skipped: int = 0  # rounds since the last combination
    examples: int = 0  # examples worked on: those dealt, less what was excluded
    dealt: tuple[int, ...] = ()  # steps dealt to each worker
    worker_steps: tuple[int, ...] = ()  # those that counted
    last_weights: tuple[float, ...] = ()


@final
class Replica:
    """One of the two buffers of the replica: row 0 the parameters, the others the strategy's state."""

    def __init__(self, vectors: np.ndarray, progress: Progress) -> None:
        self.vectors = vectors  # (1 + rows, P)
        self.parameters, self.state = vectors[0], vectors[1:]
        self.progress = progress

    def digest(self) -> int:
        """Of a part of the parameters that rotates with the rounds: replicas that drift apart are found out."""
        start = self.progress.round * _DIGEST % self.parameters.size
        return zlib.crc32(self.parameters[start : start + _DIGEST].data)


@final
class Replicas:
    """The two buffers: the replica that is, and the one that becomes. The one before stays whole for a round."""

    def __init__(self, vectors: tuple[np.ndarray, np.ndarray]) -> None:
        self._first = self.now = Replica(vectors[0], Progress())
        self._second = self.next = Replica(vectors[1], Progress())
        self._before = self.now, self.now.progress

    def begin(self, progress: Progress) -> None:
        """From the first buffer, at `progress`."""
        self.now, self.next = self._first, self._second
        self.now.progress = progress
        self._before = self.now, progress

    def commit(self, progress: Progress, combined: bool) -> None:
        """The next replica becomes the replica; if nothing was combined, only the round passes."""
        self._before = self.now, self.now.progress
        if combined:
            self.now, self.next = self.next, self.now
        self.now.progress = progress

    def step_back(self) -> None:
        """To the replica before the last commit."""
        now, progress = self._before
        if now is not self.now:
            self.now, self.next = self.next, self.now
        self.now.progress = progress
