"""The replica: the state that all workers agree on, and that a process which joins receives."""

import zlib
from collections.abc import Sequence
from operator import add
from typing import NamedTuple, final

import numpy as np

DIGEST_PARAMETERS = 1024  # covered by one digest; raised, a drift is found sooner and each round costs more


class Progress(NamedTuple):
    """How far training has come, as plain numbers, which are restored with the vectors."""

    round: int = 0
    position: int = 0  # examples dealt since the start; the epoch is position / examples
    steps: int = 0  # optimizer steps of the worker with the most: t in Adam
    evaluated: int = 0  # position of the last evaluation
    reached: bool = False  # whether the target is reached
    combinations: int = 0  # that were made, with those of candidates for the weights
    skipped: int = 0  # rounds without a combination since the last one
    examples: int = 0  # examples trained on: those dealt, less those of excluded workers
    dealt: tuple[int, ...] = ()  # steps dealt to each worker
    worker_steps: tuple[int, ...] = ()  # steps of each worker, less those of rounds in which it was excluded
    last_weights: tuple[float, ...] = ()

    def after_round(
        self,
        plan: Sequence[int],
        steps: Sequence[int],
        batch: int,
        weights: tuple[float, ...] | None,
        combinations: int,
    ) -> "Progress":
        """The progress after a round in which `plan` steps were dealt, `steps` of them counted, and `combinations` were
        made; `weights` is None if nothing was combined."""
        return Progress(
            round=self.round + 1,
            position=self.position + sum(plan) * batch,
            steps=self.steps + max(steps),
            evaluated=self.evaluated,
            reached=self.reached,
            combinations=self.combinations + combinations,
            skipped=0 if weights is not None else self.skipped + 1,
            examples=self.examples + sum(steps) * batch,
            dealt=tuple(map(add, self.dealt, plan)),
            worker_steps=tuple(map(add, self.worker_steps, steps)),
            last_weights=weights if weights is not None else self.last_weights,
        )


START = Progress()


class Replica:
    """One buffer of the replica: row 0 the parameters, the other rows the strategy's state."""

    def __init__(self, vectors: np.ndarray, progress: Progress = START) -> None:
        self.vectors = vectors  # (1 + rows, P)
        self.parameters, self.state = vectors[0], vectors[1:]
        self.progress = progress

    def digest(self) -> int:
        """CRC-32 of a part of the parameters that moves on with each round, so that replicas that drift apart are
        noticed."""
        return zlib.crc32(self.parameters[digested(self.progress.round, self.parameters.size)].data)


def digested(round: int, parameters: int) -> slice:
    """The part of the parameters that the digest of a round covers."""
    start = round * DIGEST_PARAMETERS % parameters
    return slice(start, min(start + DIGEST_PARAMETERS, parameters))


@final
class Replicas:
    """The current replica and the next one. They are two buffers, so that the previous replica survives a loss in the
    middle of a combination; or one and the same, where no process can be lost and replaced."""

    def __init__(self, first: Replica, second: Replica) -> None:
        self._first = self.now = first
        self._second = self.next = second
        self._before = self.now, self.now.progress

    def begin(self, progress: Progress) -> None:
        """Start from the first buffer, at `progress`."""
        self.now, self.next = self._first, self._second
        self.now.progress = progress
        self._before = self.now, progress

    def commit(self, progress: Progress, combined: bool) -> None:
        """Make the next replica the current one; if nothing was combined, only the progress changes."""
        self._before = self.now, self.now.progress
        if combined:
            self.now, self.next = self.next, self.now
        self.now.progress = progress

    def step_back(self) -> None:
        """Return to the replica before the last commit. Needs two buffers."""
        now, progress = self._before
        if now is not self.now:
            self.now, self.next = self.next, self.now
        self.now.progress = progress
