"""Runs a job in this process, alone or on threads, and raises what fails."""

import signal
from collections.abc import Callable
from typing import TypeVar, cast

from psgd.config.settings import Settings
from psgd.group.failure import Ended
from psgd.group.serial import Serial
from psgd.group.threads import run_threads
from psgd.group.transport import Transport
from psgd.jobs.choose.group import thread_count
from psgd.training.job import Job
from psgd.training.signals import Signals

T = TypeVar("T")


def run_in_process(
    settings: Settings,
    first: Job,
    build: Callable[[], Job],
    act: Callable[[Transport, Callable[[], Job]], T],
    signals: Signals,
) -> T:
    """Call `act` here, or on each thread if the group is threads, with what returns its job; return what the first one
    returns. A thread has a job of its own, since learners have buffers: `first`, or what `build` returns. Raises what
    the thread that failed raises; after Ctrl-C, `signals` end the threads at their next exchange of reports."""
    if settings.group != "threads":
        return act(Serial(), lambda: first)

    def main(transport: Transport) -> T | None:
        try:
            return act(transport, build if transport.process else lambda: first)
        except Ended:  # the thread that failed raises
            return None

    try:
        results = run_threads(thread_count(settings), settings.cluster.patience, main)
    except KeyboardInterrupt:
        signals.asked = signal.SIGINT
        raise
    return cast(T, results[0])
