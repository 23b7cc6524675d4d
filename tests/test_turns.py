"""Permutations that a host's processes draw for each other: the same rows, and less work."""

from collections import Counter
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import pytest

from psgd import turns
from psgd.data.deal import Shuffle
from psgd.data.partition import Partition
from psgd.data.replacement import Replacement
from psgd.group.group import Group, Shape
from psgd.group.threads import Coordinator, Threads
from psgd.replica import Progress
from psgd.turns import Turns, bytes_of

N, BATCH = 30, 5  # examples of an epoch, of a step


class Member(NamedTuple):
    deal: Shuffle
    turns: Turns
    drawn: Counter[int]  # epochs


def team(processes: int, epochs: int, window: int | None = None) -> list[Member]:
    """As many processes on one host, each with a worker."""
    coordinator, shape = Coordinator(processes, 1.0), Shape(processes, 1, 0, 1, np.dtype(np.float32))
    members = []
    for process in range(processes):
        deal, drawn = Shuffle(N, BATCH, 7, window), Counter[int]()
        watch(deal, drawn)
        members.append(Member(deal, Turns(deal, Group(Threads(process, coordinator), shape), epochs * N), drawn))
    return members


def watch(deal: Shuffle, drawn: Counter[int]) -> None:
    draw = deal._stream.draw

    def counted(epoch: int) -> np.ndarray:
        drawn[epoch] += 1
        return draw(epoch)

    deal._stream.draw = counted  # type: ignore[method-assign]


def leg(member: Member, worker: int, steps: int, workers: int, round: int, position: int) -> Iterator[list[int]]:
    progress = Progress(round=round, position=position)
    member.turns.take(progress)
    for hand in member.deal.hands(worker, np.full(workers, steps), 0, steps, progress):
        yield hand.rows.tolist()


def train(members: list[Member], epochs: int, steps: int) -> list[list[int]]:
    """All that is dealt, in the order of workers in every round; each finds what it would have drawn itself."""
    dealt, round, position = [], 0, 0
    while position < epochs * N:
        for worker, member in enumerate(members):
            alone = list(leg(team(1, epochs)[0], worker, steps, len(members), round, position))
            ours = list(leg(member, worker, steps, len(members), round, position))
            assert ours == alone
            dealt += ours
        round, position = round + 1, position + len(members) * steps * BATCH
    return dealt


@pytest.mark.parametrize("steps", [1, 2, 3, 7, 40])
@pytest.mark.parametrize("processes", [2, 3, 5])
def test_the_rows_are_those_of_the_stream(processes, steps):
    """Whatever a round covers: a part of an epoch, some, or more than a block of them."""
    train(team(processes, 12), 12, steps)


@pytest.mark.parametrize("processes", [2, 3])
def test_each_draws_its_share(processes):
    """A round is a part of an epoch. All need the first at once, and nobody draws what is not trained on."""
    epochs = 6 * processes
    members = team(processes, epochs)
    train(members, epochs, 1)
    for process, member in enumerate(members):
        assert member.drawn == dict.fromkeys({0, *range(process, epochs, processes)}, 1)


def test_one_process_and_one_epoch_share_nothing():
    for members in (team(1, 4), team(2, 1)):
        train(members, 1, 1)
        assert [member.drawn for member in members] == [{0: 1}] * len(members)


def test_what_was_drawn_in_this_round_may_not_be_there_yet():
    """Nothing has told the others that all of it is written."""
    one, other = team(2, 4)
    list(leg(one, 0, 1, 2, 0, 0))
    list(leg(other, 1, 1, 2, 0, 0))
    list(leg(one, 0, 6, 2, 0, 0))
    assert one.drawn[1] == 1  # the other's
    list(leg(one, 0, 1, 2, 1, 2 * N))
    assert one.drawn[3] == 0
    list(leg(one, 0, 1, 2, 1, 3 * N))
    assert one.drawn[3] == 0


def test_the_epochs_of_a_lost_process_are_drawn_by_the_others():
    one, other, lost = members = team(3, 9)
    train(members, 3, 1)
    for round in range(100, 106):
        for worker, member in enumerate((one, other)):
            wanted = list(leg(team(1, 9)[0], worker, 3, 2, round, (round - 97) * N))
            assert list(leg(member, worker, 3, 2, round, (round - 97) * N)) == wanted
    assert (one.drawn[8], other.drawn[8], lost.drawn[8]) == (1, 1, 0)
    assert (one.drawn[7], other.drawn[7]) == (0, 1)


def test_a_step_back_finds_the_rows_of_then():
    """What stands in their place by now belongs to an epoch that is to come."""
    one, other = members = team(2, 12)
    train(members, 4, 1)
    ahead = [list(leg(member, worker, 1, 2, 12, 4 * N)) for worker, member in enumerate(members)]
    again = [list(leg(member, worker, 1, 2, 11, 3 * N)) for worker, member in enumerate(members)]
    assert again == [list(leg(team(1, 12)[0], worker, 1, 2, 11, 3 * N)) for worker in range(2)]
    assert ahead == [list(leg(member, worker, 1, 2, 12, 4 * N)) for worker, member in enumerate((one, other))]


def test_who_is_lost_while_it_writes_leaves_nothing_that_others_would_take():
    """They go back to the round before, whose epoch was there until then."""
    one, other, lost = members = team(3, 12)
    for round in range(6):
        for worker, member in enumerate(members):
            list(leg(member, worker, 2, 3, round, round * N))

    class Cut(np.ndarray):
        def __setitem__(self, where: object, rows: object) -> None:
            if isinstance(where, slice):
                super().__setitem__(slice(1, 1 + N // 2), np.asarray(rows)[: N // 2])
                raise KeyboardInterrupt
            super().__setitem__(where, rows)

    lost.turns._places = lost.turns._places.view(Cut)
    with pytest.raises(KeyboardInterrupt):
        lost.turns.take(Progress(round=6, position=6 * N))
    for worker, member in enumerate((one, other)):
        assert list(leg(member, worker, 2, 3, 5, 5 * N)) == list(leg(team(1, 12)[0], worker, 2, 3, 5, 5 * N))


def test_windows_are_shared_too():
    members = team(2, 6, window=12)
    for position in range(0, 6 * N, N):
        for worker, member in enumerate(members):
            wanted = list(leg(team(1, 6, 12)[0], worker, 3, 2, position, position))
            assert list(leg(member, worker, 3, 2, position, position)) == wanted
    assert [max(member.drawn) for member in members] == [4, 5]


def test_other_ways_to_deal_share_nothing():
    group = Group(Threads(0, Coordinator(2, 1.0)), Shape(2, 1, 0, 1, np.dtype(np.float32)))
    for deal in (Partition(N, BATCH, 2, 0), Replacement(N, BATCH, 0)):
        Turns(deal, group, 100).take(Progress(position=N))
        assert not group.transport._coordinator.memory.keys() & {"permutations"}  # type: ignore[attr-defined]


def test_so_much_memory_at_most(monkeypatch):
    assert bytes_of(1000, 1) == 0
    assert bytes_of(1000, 3) == 2 * 3 * 1001 * 8
    monkeypatch.setattr(turns, "LIMIT", 2 * 3 * 1001 * 8 - 1)
    assert bytes_of(1000, 3) == 0
    monkeypatch.setattr(turns, "LIMIT", 0)
    members = team(2, 4)
    train(members, 4, 1)
    assert [member.drawn for member in members] == [dict.fromkeys(range(4), 1)] * 2
