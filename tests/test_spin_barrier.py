"""A host's processes meet in shared memory: forks here, MPI's in test_mpi."""

import mmap
import multiprocessing
import os
import random
import time
from collections.abc import Callable

import pytest

from psgd.group.spin_barrier import MAX_ROW_BYTES, SpinBarrier, shared_bytes

pytestmark = pytest.mark.timeout(60)


def forked(processes: int, body: Callable[[SpinBarrier, int], object]) -> None:
    """`body(barrier, rank)` in each of them; an exception is a failure."""
    memory, context = mmap.mmap(-1, shared_bytes(processes)), multiprocessing.get_context("fork")

    def child(rank: int) -> None:
        body(SpinBarrier(memoryview(memory), rank, processes), rank)

    children = [context.Process(target=child, args=(rank,), daemon=True) for rank in range(processes)]
    for each in children:
        each.start()
    for each in children:
        each.join(40)
    codes = [each.exitcode for each in children]
    for each in children:
        each.kill()
    assert codes == [0] * processes


@pytest.mark.parametrize("processes", [1, 2, 3, 7])
def test_everybody_gets_everybodys_row(processes):
    """However late one of them comes, and whatever the length; also more processes than cores."""

    def body(here: SpinBarrier, rank: int) -> None:
        draw = random.Random(rank)
        for turn in range(300):
            if draw.random() < 0.02:
                time.sleep(0.002)
            size = random.Random(turn).choice([0, 1, 8, 100, MAX_ROW_BYTES])
            rows = here.all_gather(bytes([turn % 251, rank] * size)[:size])
            assert rows == [bytes([turn % 251, other] * size)[:size] for other in range(processes)]
            if turn % 3 == 0:
                here.wait()

    forked(processes, body)


def test_what_was_written_before_a_meeting_is_seen_after():
    numbers = mmap.mmap(-1, 4096)

    def body(here: SpinBarrier, rank: int) -> None:
        for turn in range(1, 2000):
            numbers[rank] = turn % 256
            here.wait()
            assert numbers[1 - rank] == turn % 256
            here.wait()

    forked(2, body)


def test_nobody_leaves_before_all_have_come():
    come = mmap.mmap(-1, 4096)

    def body(here: SpinBarrier, rank: int) -> None:
        for turn in range(1, 20):
            if rank == turn % 3:
                time.sleep(0.005)
            come[rank] = turn
            here.wait()
            assert min(come[:3]) == turn
            here.wait()

    forked(3, body)


def test_who_waits_sees_to_other_things():
    memory, looked = mmap.mmap(-1, shared_bytes(2)), []

    def other_comes() -> None:
        looked.append(len(looked))
        if len(looked) == 3:
            SpinBarrier(memoryview(memory), 1, 2).wait()

    fences = []
    SpinBarrier(memoryview(memory), 0, 2, lambda: fences.append(os.getpid()), other_comes).wait()
    assert looked == [0, 1, 2]
    assert len(fences) == 2  # before it says that it has come, and after the others have


def test_a_row_stays_until_all_have_read_it():
    """Who is quick has said its next, and waits, while another still reads."""
    memory = mmap.mmap(-1, shared_bytes(2))
    quick, slow = (SpinBarrier(memoryview(memory), rank, 2) for rank in range(2))

    def slow_comes() -> None:
        slow.wait()
        raise InterruptedError

    quick._idle = slow_comes
    with pytest.raises(InterruptedError):
        quick.all_gather(b"a1")
    first = bytes(memory)
    quick._turn, slow._turn = 1, 1
    quick._idle = slow_comes
    with pytest.raises(InterruptedError):
        quick.all_gather(b"a2")
    places = [place for place in range(len(first) - 1) if first[place : place + 2] == b"a1"]
    assert [bytes(memory[place : place + 2]) for place in places] == [b"a1"]
