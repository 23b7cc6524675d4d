"""Asks Ray's control plane (its GCS server, on the head node) now and then whether it still answers."""

import contextlib
import threading
from typing import Any, final

from psgd.core.errors import ProcessLost
from psgd.group.ray.deadline import Deadline, end_process
from psgd.group.ray.library import import_ray
from psgd.group.ray.transport import GRACE_SECONDS

ASK_SECONDS = 2.0  # between two questions
LONGEST_SILENCE = 45.0  # seconds; after 60, Ray ends the driver with exit code 1


@final
class ControlPlane:
    """Use as `with ControlPlane(...):` around a run. If no answer comes, the actors are told to end and this process
    ends: Ray's own calls wait for the control plane without a deadline."""

    def __init__(self, coordinator: Any, patience: float) -> None:
        """`patience`: seconds without an answer after which the job ends, LONGEST_SILENCE at most."""
        self._coordinator, self._silence = coordinator, min(patience, LONGEST_SILENCE)
        self._closed = threading.Event()

    def __enter__(self) -> None:
        threading.Thread(target=self._ask, name="control plane", daemon=True).start()

    def __exit__(self, *_: object) -> None:
        self._closed.set()

    def _ask(self) -> None:
        ray = import_ray()
        while not self._closed.wait(ASK_SECONDS):
            with Deadline(self._silence, self._lost):
                ray.nodes()

    def _lost(self) -> None:
        if self._closed.is_set():
            return
        reason = (
            f"Ray's control plane (gcs_server, on the head node) has not answered for {self._silence:g} s: it was "
            "stopped or killed; start the cluster again and continue with --resume"
        )
        with Deadline(GRACE_SECONDS, lambda: end_process(reason)), contextlib.suppress(Exception):
            import_ray().get(self._coordinator.end.remote(ProcessLost.code, reason))
        end_process(reason)
