"""Trainings that are stopped by a signal and resumed elsewhere."""

from collections.abc import Callable, Sequence
from pathlib import Path

from jobs import loop_of, train
from signal_at import SignalAt

from psgd.group.serial import Serial
from psgd.group.threads import run_threads
from psgd.group.transport import Transport
from psgd.training.job import Job
from psgd.training.signals import Stopped

Side = Callable[[Job], Job]  # puts a job on a device, or leaves it on the CPU


def stopped_at(one: Job, exchange: int, directory: Path, transport: Transport) -> bool:
    """Train until a signal at an exchange of reports. Returns whether there was so late an exchange."""
    try:
        loop_of(one, transport, directory, signals=SignalAt(exchange)).run()
    except Stopped as stop:
        return stop.code == 75
    return False


def resumed_at_every_exchange(make: Callable[[], Job], sides: Sequence[tuple[Side, Side]], directory: Path) -> None:
    """Stop at each exchange and resume with another number of processes, before and after on each of `sides` in turn:
    the bits must be those of an unbroken training on the CPU."""
    expected, exchange = train(make(), Serial()), 0
    while _resumed_at(make, expected, exchange, *sides[exchange % len(sides)], directory / str(exchange)):
        exchange += 1
    assert exchange >= 3, "the training was too short to be stopped before its end"


def _resumed_at(
    make: Callable[[], Job], expected: object, exchange: int, before: Side, after: Side, directory: Path
) -> bool:
    processes = 1 + exchange % 2
    if not any(run_threads(processes, 20.0, lambda t: stopped_at(before(make()), exchange, directory, t))):
        return False
    resumed = run_threads(3 - processes, 20.0, lambda t: train(after(make()), t, directory))
    assert resumed == [expected] * (3 - processes), exchange
    return True
