"""The deadline on every wait: who is named, who reports, which time counts. Between processes: test_mpi.py."""

import threading
import time

import pytest
from processes import LIMIT

from psgd.core.errors import ProcessLost, UsageError
from psgd.group import watchdog as module
from psgd.group.arrivals import MISSED_BEATS, Arrivals, table_bytes
from psgd.group.threads import Threads, run_threads
from psgd.group.watchdog import Watchdog


def arrivals_of(members: list[int]) -> list[Arrivals]:
    table = memoryview(bytearray(table_bytes(len(members))))
    return [Arrivals(table, members, rank) for rank in range(len(members))]


def test_those_that_have_not_arrived_are_absent_and_the_first_that_has_reports():
    all = arrivals_of([4, 5, 6])
    for one in all:
        one.arrive()
    for one in all[1:]:
        one.arrive()
        one.set_waiting(True)
    assert [one.absent() for one in all[1:]] == [[0], [0]]
    assert [one.must_report for one in all[1:]] == [True, False]
    all[0].set_waiting(True)  # as the first process of a host waits for other hosts, while the others wait for it
    assert all[1].absent() == []
    for _ in range(MISSED_BEATS + 1):  # it was stopped in that wait
        all[1].beat()
    assert all[1].absent() == [0]
    all[0].beat()
    all[1].beat()
    assert (all[1].absent(), all[1].runs(0)) == ([], True)


def test_an_expired_wait_names_the_absent(monkeypatch):
    monkeypatch.setattr(module, "REPORTER_SECONDS", 1e9)  # the second one stays silent
    first, second, _ = arrivals_of([0, 1, 2])
    said: dict[str, str] = {}
    spoken = threading.Event()

    def speaks(message: str) -> None:
        said["first"] = message
        spoken.set()

    dogs = [Watchdog(0.2, speaks, first), Watchdog(0.2, lambda message: said.setdefault("second", message), second)]
    with dogs[0].arrive(), dogs[1].arrive():
        assert spoken.wait(LIMIT)
    for dog in dogs:
        dog.close()
    assert said == {
        "first": "waited for process 2, which did not come to an exchange within 0.2 s (see cluster.patience): it "
        "hangs, was stopped or is gone"
    }


def test_time_in_which_this_process_was_suspended_does_not_count(monkeypatch):
    """Between two looks of the watchdog the clock moves by an hour: that takes two ticks of the patience."""
    hours, looks, expired = iter(range(10**6)), [], threading.Event()
    monkeypatch.setattr(module.time, "monotonic", lambda: 3600.0 * next(hours))
    dog = Watchdog(0.4, lambda message: expired.set(), arrivals_of([0, 1])[0], looks.append)
    with dog.arrive():
        assert expired.wait(LIMIT)
    assert set(looks) == {0.2}
    assert len(looks) >= 4  # the first one only notices that a wait began


def test_at_start_up_the_busy_are_waited_for_and_the_stopped_are_not(monkeypatch):
    monkeypatch.setattr(module, "BUSY_SECONDS", 0.0)
    own, busy = arrivals_of([0, 1])
    looks, expired = [], threading.Event()

    def tick(seconds: float) -> None:
        looks.append(seconds)
        if len(looks) < 40:
            busy.beat()

    dog = Watchdog(0.04, lambda message: expired.set(), own, tick)
    dog.allows_busy = True
    with dog.arrive():
        assert expired.wait(LIMIT)
    assert len(looks) > 40


@pytest.mark.parametrize("hanging", [0, 1])
def test_a_thread_that_hangs_is_named_and_left_behind(hanging, capsys):
    forever = threading.Event()

    def main(transport: Threads) -> None:
        transport.all_gather(b"")
        if transport.process == hanging:
            forever.wait()
        transport.all_gather(b"")

    began = time.monotonic()
    with pytest.raises(
        ProcessLost, match=f"waited for process {hanging}, which did not come to an exchange within 0.2 s"
    ):
        run_threads(3, 0.2, main)
    assert time.monotonic() - began < LIMIT
    forever.set()
    assert capsys.readouterr().err == ""


def test_a_thread_that_hangs_does_not_hide_another_ones_failure():
    forever = threading.Event()

    def main(transport: Threads) -> None:
        if transport.process == 0:
            forever.wait()
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        run_threads(2, 0.2, main)
    forever.set()


def test_more_threads_than_the_system_starts_are_refused(monkeypatch):
    started, start = [], threading.Thread.start

    def limited(thread: threading.Thread) -> None:
        if len(started) == 7:
            raise RuntimeError("can't start new thread")
        started.append(thread)
        start(thread)

    monkeypatch.setattr(threading.Thread, "start", limited)
    with pytest.raises(
        UsageError, match=r"cluster.processes is 9, but the system lets psgd start no more than 3 threads"
    ):
        run_threads(9, 20.0, lambda transport: transport.all_gather(b""))


@pytest.mark.parametrize("late", [False, True])
def test_ctrl_c_while_threads_start_leaves_none_behind(monkeypatch, late):
    """Watchdog and thread of the first process are started; Ctrl-C comes to the next watchdog or thread, before it is
    started or after."""
    for which in (2, 3):
        before, started, start = set(threading.enumerate()), [], threading.Thread.start

        def interrupted(thread: threading.Thread, which=which, started=started, start=start) -> None:
            started.append(thread)
            if late or len(started) <= which:
                start(thread)
            if len(started) > which:
                raise KeyboardInterrupt

        monkeypatch.setattr(threading.Thread, "start", interrupted)
        with pytest.raises(KeyboardInterrupt):
            run_threads(3, 60.0, lambda transport: transport.all_gather(b""))
        monkeypatch.undo()
        left = set(threading.enumerate()) - before
        for thread in left:
            thread.join(LIMIT)
        assert not any(thread.is_alive() for thread in left)
