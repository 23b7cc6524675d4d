"""Measures memory that Python and numpy allocate."""

import tracemalloc
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


def peak_memory(call: Callable[[], T]) -> tuple[T, int]:
    """What `call` returns, and the most bytes that were allocated meanwhile at a time."""
    tracemalloc.start()
    try:
        return call(), tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
