"""The replica: the state that all workers agree on, and that a process which joins receives."""

import zlib
from typing import NamedTuple, final

import numpy as np

DIGEST_PARAMETERS = 1024  # that one digest covers; raised, a drift is found sooner and each round costs more


class Progress(NamedTuple):
    """How far the training is. Plain numbers, which are saved, restored and sent together with the vectors."""

    round: int = 0
    position: int = 0  # examples dealt since the start; the epoch is position / examples
    steps: int = 0  # optimizer steps of the worker with the most: t in Adam
    evaluated: int = 0  # position of the last evaluation
    reached: bool = False  # whether the target is reached
    combinations: int = 0  # rounds that ended with a combination
    skipped: int = 0  # rounds without a combination since the last one
    examples: int = 0  # examples trained on: those dealt, less those of excluded workers
    dealt: tuple[int, ...] = ()  # steps dealt to each worker
    worker_steps: tuple[int, ...] = ()  # steps of each worker, less those of rounds in which it was excluded
    last_weights: tuple[float, ...] = ()


@final
class Replica:
    """One buffer of the replica. Row 0 holds the parameters, the other rows the strategy's state."""

    def __init__(self, vectors: np.ndarray, progress: Progress) -> None:
        self.vectors = vectors  # (1 + state rows, P)
        self.parameters, self.state = vectors[0], vectors[1:]
        self.progress = progress

    def digest(self) -> int:
        """CRC-32 of the next DIGEST_PARAMETERS parameters, in turn with the rounds. Processes compare it to find
        replicas that differ."""
        start = self.progress.round * DIGEST_PARAMETERS % self.parameters.size
        return zlib.crc32(self.parameters[start : start + DIGEST_PARAMETERS].data)


@final
class Replicas:
    """The two buffers of the replica: `now`, and `next`, to which a combination writes. The previous replica is kept
    until the next combination begins, so that a round can be undone."""

    def __init__(self, vectors: tuple[np.ndarray, np.ndarray]) -> None:
        self._first = self.now = Replica(vectors[0], Progress())
        self._second = self.next = Replica(vectors[1], Progress())
        self._before = self.now, self.now.progress

    def begin(self, progress: Progress) -> None:
        """Make the first buffer the replica, at `progress`."""
        self.now, self.next = self._first, self._second
        self.now.progress = progress
        self._before = self.now, progress

    def commit(self, progress: Progress, combined: bool) -> None:
        """End a round: swap the buffers if something was `combined`, and set the progress."""
        self._before = self.now, self.now.progress
        if combined:
            self.now, self.next = self.next, self.now
        self.now.progress = progress

    def step_back(self) -> None:
        """Undo the last `commit` or `begin`."""
        now, progress = self._before
        if now is not self.now:
            self.now, self.next = self.next, self.now
        self.now.progress = progress
