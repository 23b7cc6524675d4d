"""The barrier in shared memory: between forked processes here, between MPI's in test_mpi.py."""

import mmap
import multiprocessing
import random
import time
from collections.abc import Callable

import pytest
from processes import LIMIT

from psgd.group.spin_barrier import LONG_SECONDS, MAX_ROW_BYTES, MOST_YIELDS, SHORT_WAITS, SpinBarrier, barrier_bytes


def forked(processes: int, body: Callable[[SpinBarrier, int], object]) -> None:
    """Run `body(barrier, rank)` in that many processes. AssertionError if one of them raises."""
    memory, context = mmap.mmap(-1, barrier_bytes(processes)), multiprocessing.get_context("fork")

    def child(rank: int) -> None:
        body(SpinBarrier(memoryview(memory), rank, processes), rank)

    children = [context.Process(target=child, args=(rank,), daemon=True) for rank in range(processes)]
    for each in children:
        each.start()
    for each in children:
        each.join(LIMIT)
    codes = [each.exitcode for each in children]
    for each in children:
        each.kill()
    assert codes == [0] * processes


@pytest.mark.parametrize("processes", [1, 2, 3, 7])
def test_every_process_gets_every_row(processes):
    """Rows of any length, processes that arrive late, and more processes than cores."""

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


def test_writes_before_the_barrier_are_seen_after_it():
    numbers = mmap.mmap(-1, 4096)

    def body(here: SpinBarrier, rank: int) -> None:
        for turn in range(1, 2000):
            numbers[rank] = turn % 256
            here.wait()
            assert numbers[1 - rank] == turn % 256
            here.wait()

    forked(2, body)


def test_no_process_passes_the_barrier_before_all_have_reached_it():
    reached = mmap.mmap(-1, 4096)

    def body(here: SpinBarrier, rank: int) -> None:
        for turn in range(1, 20):
            if rank == turn % 3:
                time.sleep(0.005)
            reached[rank] = turn
            here.wait()
            assert min(reached[:3]) == turn
            here.wait()

    forked(3, body)


def test_idle_is_called_while_waiting():
    memory, looked = mmap.mmap(-1, barrier_bytes(2)), []

    def let_other_arrive() -> None:
        looked.append(len(looked))
        if len(looked) == 3:
            SpinBarrier(memoryview(memory), 1, 2).wait()

    SpinBarrier(memoryview(memory), 0, 2, let_other_arrive).wait()
    assert looked == [0, 1, 2]


def test_a_process_that_waits_for_long_leaves_its_core():
    def body(here: SpinBarrier, rank: int) -> None:
        if rank:
            time.sleep(0.5)
        began = time.process_time()
        here.wait()
        assert time.process_time() - began < 0.25

    forked(2, body)


def test_a_process_yields_less_often_after_long_waits_and_more_often_after_short_ones(monkeypatch):
    memory, times = mmap.mmap(-1, barrier_bytes(2)), [0.0]
    monkeypatch.setattr("psgd.group.spin_barrier.time.perf_counter", lambda: times[0])
    other = SpinBarrier(memoryview(memory), 1, 2)
    here = SpinBarrier(memoryview(memory), 0, 2)
    pauses, naps = [], []

    def wait(seconds: float, arrival: int) -> int:
        """Wait for so long: the other process arrives while this one yields or sleeps for that time."""

        def pause() -> None:
            pauses.append(0)
            if len(pauses) == arrival:
                times[0] += seconds
                other.wait()

        def nap(seconds: float) -> None:
            naps.append(seconds)
            pause()

        pauses.clear()
        monkeypatch.setattr("psgd.group.spin_barrier.os.sched_yield", pause)
        monkeypatch.setattr("psgd.group.spin_barrier.time.sleep", nap)
        here.wait()
        return here._yields

    long, short = 2 * LONG_SECONDS, LONG_SECONDS / 2
    # However few yields a long wait had: one of them may have taken all the time.
    assert [wait(long, 1) for _ in range(10)] == [128, 64, 32, 16, 8, 4, 2, 1, 1, 1]
    assert naps == []
    # Although they are not enough to end the wait, which a sleep made longer.
    assert [wait(short, 3) for _ in range(SHORT_WAITS)] == [1] * (SHORT_WAITS - 1) + [2]
    assert len(naps) == 2 * SHORT_WAITS
    assert [wait(short, 1) for _ in range(20 * SHORT_WAITS)][-1] == MOST_YIELDS
    for _ in range(SHORT_WAITS - 1):
        wait(short, 1)
    assert wait(long, 1) == MOST_YIELDS // 2
    assert wait(short, 1) == MOST_YIELDS // 2  # not in a row


def test_a_row_is_kept_until_all_have_read_it():
    """One process has already written its next row while another still reads the last."""
    memory = mmap.mmap(-1, barrier_bytes(2))
    quick, slow = (SpinBarrier(memoryview(memory), rank, 2) for rank in range(2))

    def let_slow_arrive() -> None:
        slow.wait()
        raise InterruptedError

    quick._idle = let_slow_arrive
    with pytest.raises(InterruptedError):
        quick.all_gather(b"a1")
    first = bytes(memory)
    quick._idle = let_slow_arrive
    with pytest.raises(InterruptedError):
        quick.all_gather(b"a2")
    places = [place for place in range(len(first) - 1) if first[place : place + 2] == b"a1"]
    assert [bytes(memory[place : place + 2]) for place in places] == [b"a1"]
