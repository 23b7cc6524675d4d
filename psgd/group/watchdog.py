"""A deadline on every wait: when it passes, print where this process stands and end the job."""

import faulthandler
import sys
import threading
import time
from collections.abc import Callable
from typing import final


@final
class Watchdog:
    """Use as `with watchdog:` around a wait. Entering and leaving it cost a few stores; a thread checks the time about
    once a second."""

    def __init__(self, patience: float, process: int, abort: Callable[[int], object]) -> None:
        """`patience`: seconds that a wait may last; `abort` is called with exit code 5 when it has passed."""
        self._patience, self._process, self._abort = patience, process, abort
        self._since: float | None = None
        self._closed = threading.Event()
        threading.Thread(target=self._watch, name="watchdog", daemon=True).start()

    def __enter__(self) -> None:
        self._since = time.monotonic()

    def __exit__(self, *_: object) -> None:
        self._since = None

    def close(self) -> None:
        self._closed.set()

    def _watch(self) -> None:
        while not self._closed.wait(min(1.0, self._patience / 4)):
            since = self._since
            waited = time.monotonic() - since if since is not None else 0.0
            if waited > self._patience:
                print(
                    f"[{self._process}] psgd: waited {waited:.0f} s for the other processes (cluster.patience is "
                    f"{self._patience:g} s): one of them hangs or is gone. This one stands at:",
                    file=sys.stderr,
                    flush=True,
                )
                faulthandler.dump_traceback(all_threads=True)
                self._abort(5)
