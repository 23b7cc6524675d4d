"""All groups keep one contract and give the same bits: here the groups that need no launcher."""

import gc
import signal
import threading
import time
import weakref
from functools import partial
from pipes import run_pipes
from types import SimpleNamespace

import numpy as np
import pytest
from contract import check_group, hashes
from jobs import NAMES, job, strategies, train
from processes import LIMIT

from psgd.core.errors import PsgdError
from psgd.group.group import Group
from psgd.group.reports import Notice, Report
from psgd.group.serial import Serial
from psgd.group.threads import Threads, run_threads
from psgd.group.transport import Transport
from psgd.group.vector_shape import VectorShape


@pytest.fixture(scope="module")
def serial() -> dict[str, object]:
    return hashes(Serial)


@pytest.mark.parametrize("workers", [1, 2, 3, 5, 8])
def test_serial_keeps_the_contract(workers):
    check_group(Serial(), workers)


@pytest.mark.parametrize("workers", [1, 3, 4])
@pytest.mark.parametrize("processes", [1, 2, 3, 5])
def test_threads_keep_the_contract(processes, workers):
    run_threads(processes, 20.0, lambda transport: check_group(transport, workers))


@pytest.mark.parametrize("workers", [1, 3, 4])
@pytest.mark.parametrize("processes", [1, 2, 3, 5])
def test_pipes_keep_the_contract(processes, workers):
    outcome = run_pipes(processes, partial(check_group, workers=workers))
    assert outcome.results == dict.fromkeys(range(processes))


@pytest.mark.parametrize("processes", [2, 3])
def test_threads_give_the_bits_of_serial(serial, processes):
    for name, expected in serial.items():
        workers = 8 if "8" in name else 4
        strategy = strategies(workers)[name.rsplit(",", 1)[0]]
        results = run_threads(processes, 20.0, lambda t, s=strategy, w=workers: train(job(s, w), t))
        assert results == [expected] * processes


def train_by_name(name: str, transport: Transport) -> object:
    return train(job(strategies(8)[name], 8), transport)


@pytest.mark.parametrize("processes", [2, 3, 4])
@pytest.mark.parametrize("name", NAMES)
def test_pipes_give_the_bits_of_serial(serial, processes, name):
    outcome = run_pipes(processes, partial(train_by_name, name))
    assert outcome.results == dict.fromkeys(range(processes), serial[f"{name}, 8 workers"])


def test_unequal_strategies_and_speeds_give_unequal_bits(serial):
    assert len({sha for sha, _ in serial.values()}) == len(serial)


def test_a_thread_that_raises_ends_the_others():
    def main(transport: Threads) -> None:
        if transport.process == 1:
            raise ZeroDivisionError("thread 1")
        transport.all_gather(b"")

    with pytest.raises(ZeroDivisionError, match="thread 1"):
        run_threads(3, 20.0, main)


def test_a_thread_that_ends_after_a_wait_takes_it_from_nobody():
    """All come to one wait, and the first to wake up ends at once: the others have met it all the same."""
    for _ in range(20):
        passed = []

        def main(transport):
            transport.barrier()
            passed.append(transport.process)  # noqa: B023
            raise ValueError("on purpose")

        with pytest.raises(ValueError, match="on purpose"):
            run_threads(3, 20.0, main)
        assert sorted(passed) == [0, 1, 2]


def train_with_other_bits_on_process_2(transport: Transport) -> object:
    one = job(strategies(4)["gradient-averaging, adam"], 4)
    if transport.process == 2:
        weights = one.learner.initial
        one.learner.initial = lambda seed: np.nextafter(weights(seed), np.float32(9))
    return train(one, transport)


def test_replicas_that_differ_are_detected():
    """The parameters of one process differ in one bit: the digest in the next exchange of reports shows it."""
    outcome = run_pipes(3, train_with_other_bits_on_process_2)
    assert all(isinstance(result, PsgdError) for result in outcome.results.values())
    assert "process 2 differs from the others in round 0" in str(outcome.results[0])


def test_an_exchange_of_reports_when_every_process_failed():
    def main(transport: Threads) -> tuple[list[int], list[int]]:
        reports = Group(transport, VectorShape(2, 10, 0, 1, np.dtype(np.float64))).exchange_reports([], Notice(error=4))
        return list(reports.steps_done), [notice.error for notice in reports.notices]

    assert run_threads(2, LIMIT, main) == [([], [4, 4])] * 2


def test_rows_of_reports_have_one_length_on_all_processes():
    """Five processes, two workers: the three spares take part in the exchange too."""

    def main(transport: Threads) -> list[int]:
        group = Group(transport, VectorShape(2, 10, 0, 1, np.dtype(np.float64)))
        reports = [Report(worker, steps_done=worker + 3) for worker in group.hosted]
        return list(group.exchange_reports(reports, Notice()).steps_done)

    assert run_threads(5, 20.0, main) == [[3, 4]] * 5


@pytest.mark.parametrize("hosts", [[0], [0, 1]])
def test_the_number_of_memories_does_not_grow_with_the_workers(hosts):
    """Each costs exchanges between the processes of a host, and a mapping."""

    def sizes(workers: int) -> dict[str, int]:
        asked: dict[str, int] = {}

        def memory(name: str, size: int) -> memoryview:
            return memoryview(bytearray(asked.setdefault(name, size)))

        members = range(len(hosts))
        transport = SimpleNamespace(process=0, members=members, hosts=hosts, recovers=False, memory=memory)
        group = Group(transport, VectorShape(workers, 3, 1, 2, np.dtype(np.float32)))  # type: ignore[arg-type]
        for worker in group.hosted:  # no contribution lies in another's place
            group.contribution(worker)[:] = worker
        assert [group.contribution(worker).sum() for worker in group.hosted] == [6 * worker for worker in group.hosted]
        assert all(
            group.contribution(worker).ctypes.data % 64 == group.contribution(0).ctypes.data % 64
            for worker in group.hosted
        )
        return asked

    assert len(sizes(3000)) == len(sizes(3))
    replicas_and_result = 1000
    assert sum(sizes(3000).values()) <= 2 * 3000 * 64 + replicas_and_result  # contributions and sums of subtrees


def test_what_threads_share_is_freed_when_they_have_ended():
    """Not by a later search for garbage: a program that trains large models in a loop would hold several of them."""
    seen = []

    def main(transport: Threads) -> None:
        seen.append(weakref.ref(transport.memory("contributions", 1000)))

    gc.disable()
    try:
        run_threads(2, 20.0, main)
        assert [found() for found in seen] == [None, None]
    finally:
        gc.enable()


def test_a_signal_that_the_main_thread_sleeps_through_is_heard():
    """The signal goes to another thread, and so does not wake the main one. Nor does a signal that comes just before
    the main thread falls asleep."""
    heard, before = threading.Event(), signal.getsignal(signal.SIGUSR1)

    def main(transport):
        if transport.process == 0:
            time.sleep(0.1)  # the main thread is asleep now
            signal.pthread_kill(threading.get_ident(), signal.SIGUSR1)
        return heard.wait(LIMIT)

    signal.signal(signal.SIGUSR1, lambda number, frame: heard.set())
    try:
        assert run_threads(2, LIMIT, main) == [True, True]
    finally:
        signal.signal(signal.SIGUSR1, before)
