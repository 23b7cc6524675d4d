"""The clock with which steps are timed, and the date."""

import time

from psgd.doctor.finding import Finding, note, ok

_READS = 2000
_SLOW = 2e-6  # seconds; a step of a small network takes 10e-6
_EARLIEST = 1704067200.0  # 2024, before psgd was written; certificates fail when the date is wrong


def check() -> list[Finding]:
    best = min(_seconds_of_reading() for _ in range(5))
    return [judge(best, time.time())]


def judge(reading: float, now: float) -> Finding:
    """`reading`: seconds that one reading takes; `now`: seconds since 1970."""
    if now < _EARLIEST:
        return note("clock", f"the date is {time.strftime('%Y-%m-%d', time.gmtime(now))}", "set the machine's clock")
    text = f"reading it takes {reading * 1e9:.0f} ns"
    if reading > _SLOW:
        advice = "see /sys/devices/system/clocksource/clocksource0/current_clocksource: tsc or kvm-clock are quick"
        return note("clock", f"{text}: steps of small networks are timed too long", advice)
    return ok("clock", text, nanoseconds=reading * 1e9)


def _seconds_of_reading() -> float:
    began = time.perf_counter()
    for _ in range(_READS):
        time.perf_counter()
    return (time.perf_counter() - began) / _READS
