"""Hands the lines of metrics to trackers, each in a thread of its own.

The training neither waits for a tracker nor notices its failure, of which there is one warning; at the end of the run
a tracker is given a while for what it has not written yet.
"""

import queue
import threading
import time
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, final

from psgd.core.log import LOG
from psgd.jobs.trackers.tracker import Scalars, Tracker, scalars
from psgd.training.metrics import Row

Open = Callable[[], Tracker]


class _Begin(NamedTuple):
    step: int


class _Row(NamedTuple):
    row: Callable[[], Row]


class _End(NamedTuple):
    summary: dict[str, Any] | None


@final
class TrackerThreads:
    """`openers`: by the names of trackers; each is called in the tracker's thread, when there is something to tell.
    `label`: of this process, in warnings. `last_seconds`: that trackers may take after the end of the run."""

    def __init__(self, openers: Mapping[str, Open], label: str, last_seconds: float) -> None:
        self._threads = [_TrackerThread(name, opener, label) for name, opener in openers.items()]
        self._last_seconds = last_seconds

    def truncate(self, examples: int) -> None:
        """The run begins, or goes on after so many examples."""
        self._put(_Begin(examples))

    def row(self, row: Callable[[], Row]) -> None:
        """Tell what `row` returns, later."""
        self._put(_Row(row))

    def close(self, summary: dict[str, Any] | None) -> None:
        """Tell the summary of the run, None after an error, and wait until the trackers have written everything."""
        self._put(_End(summary))
        deadline = time.monotonic() + self._last_seconds
        for thread in self._threads:
            if not thread.wait(max(0.0, deadline - time.monotonic())):
                thread.warn(f"it has not written everything {self._last_seconds:g} s after the end of the run")

    def _put(self, item: _Begin | _Row | _End) -> None:
        for thread in self._threads:
            thread.put(item)


@final
class _TrackerThread:
    """One tracker, its thread, and what it has not been told yet."""

    def __init__(self, name: str, opener: Open, label: str) -> None:
        self._name, self._open, self._label = name, opener, label
        self._items: queue.SimpleQueue[_Begin | _Row | _End] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None
        self._warned = False

    def put(self, item: _Begin | _Row | _End) -> None:
        if self._thread is None:
            if isinstance(item, _End):
                return  # this process had nothing to tell: it is not the first
            self._thread = threading.Thread(target=self._work, name=f"record {self._name}", daemon=True)
            self._thread.start()
        self._items.put(item)

    def wait(self, seconds: float) -> bool:
        """Return whether it has ended within `seconds`."""
        if self._thread is not None:
            self._thread.join(seconds)
        return self._thread is None or not self._thread.is_alive()

    def _work(self) -> None:
        try:
            tracker, ended = self._open(), False
            while not ended:
                rows: list[Scalars] = []
                for item in self._next():
                    if isinstance(item, _Row):
                        rows.append(scalars(item.row()))
                        continue
                    if rows:
                        tracker.write(rows)
                        rows = []
                    if isinstance(item, _Begin):
                        tracker.begin(item.step)
                    else:
                        tracker.finish(item.summary)
                        ended = True
                if rows:
                    tracker.write(rows)
        except BaseException as error:  # of any type, SystemExit too: a tracker must not end the run
            what = " ".join(f"{type(error).__name__}: {error}".split())
            self.warn(what if len(what) <= 300 else what[:297] + "...")

    def _next(self) -> list[_Begin | _Row | _End]:
        """Wait for an item; return it with those that came meanwhile."""
        items = [self._items.get()]
        while not self._items.empty():
            items.append(self._items.get())
        return items

    def warn(self, text: str) -> None:
        """Say once why something is missing there."""
        if not self._warned:
            self._warned = True
            LOG.warning("[%s] warning: record: %s is incomplete, and the run is not: %s", self._label, self._name, text)
