"""Compiles kernels when they are first called; numba's cache keeps them for each processor.

The cache is in `__pycache__` beside the file or, where that cannot be written to, under the user's cache directory.
numba keys it by version, argument types and processor, and replaces its files atomically, so several processes may
compile at once. It notices changes of a kernel's file, but not of other files from which the kernel inlines functions:
after changing calls.py or this file, change the kernels' files, too, or delete the cache.
"""

from typing import Any

from numba import njit
from numba.core import event as _event

from psgd.core.log import LOG

event: Any = _event

_OPTIONS: dict[str, Any] = {
    "nogil": True,
    # As in numpy, a division by zero gives infinity. A loop that may raise ZeroDivisionError is not vectorised.
    "error_model": "numpy",
}


def kernel(function: Any) -> Any:
    """Compile a function that Python calls. It releases the lock (GIL) while it runs."""
    try:
        return njit(cache=True, **_OPTIONS)(function)
    except RuntimeError:  # no directory for the cache can be written to
        return njit(**_OPTIONS)(function)


def inlined(function: Any) -> Any:
    """Compile a function that kernels of the same file call."""
    return njit(**_OPTIONS)(function)


class _Notice(event.Listener):  # type: ignore[misc]
    """Says once that kernels are being compiled, which takes some seconds."""

    printed = False

    def on_start(self, event: Any) -> None:
        if not self.printed and event.data["dispatcher"].py_func.__module__.startswith(__package__):
            self.printed = True
            LOG.info("psgd: numba compiles the inner loops for this processor, once")

    def on_end(self, event: Any) -> None:
        pass


event.register("numba:compile", _Notice())
