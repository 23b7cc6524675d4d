"""The clock. Code that measures time is given one, so that a simulator can pass another."""

import time
from collections.abc import Callable

Clock = Callable[[], float]  # seconds since some moment; only differences mean anything

real_clock: Clock = time.perf_counter
