"""The permutations of epochs, which a host's processes draw in turns, each for all of them.

With n processes on a host, n epochs are a block. While one is trained on, each process draws its own epoch of the next,
all at the same time: the work of drawing is divided by n, and nobody waits for it. It is only a shortcut. What is not
there yet, or belongs to a process that was lost, everyone draws for itself: the same rows, since they are a function of
(seed, epoch).
"""

from typing import final

import numpy as np

from psgd.data.deal import Deal
from psgd.group.group import Group
from psgd.replica import Progress

LIMIT = 1 << 28  # bytes of one host; where they would be more, everyone draws for itself
_ROUNDS = 1 << 32


def bytes_of(examples: int, processes: int) -> int:
    """What the processes of a host share: each has a place for its epoch of this block, and one for that of the next.
    Before an epoch's rows stands which it is, counted from 1, and in which round it was drawn."""
    size = 2 * processes * (1 + examples) * np.dtype(np.int64).itemsize
    return size if processes > 1 and size <= LIMIT else 0


@final
class Turns:
    def __init__(self, deal: Deal, group: Group, end: int) -> None:
        """Collective over a host's processes. `end`: the position at which training ends."""
        self._seat, self._seats = group.seat
        self._examples, self._round = deal.examples, 0
        self._epochs = -(-end // deal.examples)
        size = bytes_of(deal.examples, self._seats)
        self._draw = deal.share(self._find) if size else None
        if self._draw:
            memory = np.frombuffer(group.transport.memory("permutations", size), np.int64)
            self._places = memory.reshape(2, self._seats, 1 + deal.examples)
        self._block = -1  # the last for which this process has drawn

    def take(self, progress: Progress) -> None:
        """At the beginning of a leg: draw this process's epoch of the next block, and of this one if it is to come."""
        self._round = progress.round
        epoch = progress.position // self._examples
        block = epoch // self._seats
        if self._draw is None or block == self._block:
            return
        self._block = block
        for own in (block * self._seats + self._seat, (block + 1) * self._seats + self._seat):
            place = self._place(own)
            if epoch < own < self._epochs and place[0] // _ROUNDS != 1 + own:
                rows = self._draw(own)
                place[0] = 0  # who is lost in the middle of this leaves nothing that others would take
                place[1:] = rows
                place[0] = (1 + own) * _ROUNDS + progress.round

    def _find(self, epoch: int) -> np.ndarray | None:
        """The rows (examples,) of an epoch, if they were drawn before the last meeting: only then are they surely there
        for others to see."""
        place = self._place(epoch)
        whose, round = divmod(int(place[0]), _ROUNDS)
        return place[1:] if whose == 1 + epoch and round < self._round else None

    def _place(self, epoch: int) -> np.ndarray:
        block, seat = divmod(epoch, self._seats)
        place: np.ndarray = self._places[block % 2, seat]
        return place
