"""Whether this machine is idle, so that times can be measured on it."""

import os
import time
from pathlib import Path

WATCHED_SECONDS = 0.1  # raised, short bursts of other programs are noticed more surely, and each measurement waits
BUSY = 0.5  # cores at work, above which measurements count as disturbed

_STAT = Path("/proc/stat")
_IDLE = (3, 4)  # columns of the first line: idle, and waiting for a disk


def busy_cores() -> float:
    """How many cores work for other programs at this moment, while this one waits. The load average, which would
    still count the runs that have just ended, is only taken where there is no /proc."""
    before = _ticks()
    if before is None:
        return os.getloadavg()[0]
    time.sleep(WATCHED_SECONDS)
    after = _ticks() or before
    spent = [now - then for now, then in zip(after, before, strict=True)]
    total = sum(spent)
    return 0.0 if not total else (1 - sum(spent[column] for column in _IDLE) / total) * (os.cpu_count() or 1)


def _ticks() -> list[int] | None:
    """Ticks of all cores since the machine was started, by what they did (man 5 proc). None without /proc."""
    try:
        line = _STAT.read_text().splitlines()[0]
    except OSError:
        return None
    return [int(word) for word in line.split()[1:9]]
