"""Lets one thread call a function in the midst of another thread's call, the same way every time."""

import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from types import FrameType
from typing import Any

MOST_PAUSES = 32  # of one call; raised, a shared variable that lives for few lines is noticed more surely
WAIT_SECONDS = 1.0  # for the other thread, which a lock of the user's may stop
_OTHERS = ("numpy", "psgd", "threading")  # modules in which no call is interrupted

Call = Callable[[], bytes]


def same_in_two_threads(first: Call, second: Call) -> bool:
    """Return whether both calls give the same results alone and when `first` is paused at its lines, in each pause of
    which another thread makes the call `second`. An exception that they raise together alone counts as another result.
    A function without lines of Python cannot be paused."""
    alone = first(), second()
    lines = 0

    def count() -> None:
        nonlocal lines
        lines += 1

    with ThreadPoolExecutor(1) as one, ThreadPoolExecutor(1) as two:
        one.submit(_traced, first, count).result()
        every = max(1, -(-lines // MOST_PAUSES))
        line, results, locked = 0, {alone[1]}, False

        def pause() -> None:
            nonlocal line, locked
            line += 1
            if locked or (line % every and line < lines):
                return
            try:
                results.add(two.submit(second).result(WAIT_SECONDS))
            except TimeoutError:
                locked = True  # it waits until `first` has ended

        try:
            result = one.submit(_traced, first, pause).result()
        except Exception:
            return False
    return result == alone[0] and results == {alone[1]}


def _traced(call: Call, at_line: Callable[[], None]) -> bytes:
    """Call, with `at_line` before each line of the user's code. Only this thread is traced."""

    def trace(frame: FrameType, event: str, argument: Any) -> Any:
        if frame.f_globals.get("__name__", "").partition(".")[0] in _OTHERS:
            return None
        if event == "line":
            at_line()
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        return call()
    finally:
        sys.settrace(before)
