"""The transport of Ray actors: each is a process, and a host of its own.

A lost actor ends the job. Rows go through the coordinator; vectors go through Ray's object store.
"""

import contextlib
from collections.abc import Callable, Sequence
from typing import Any, NoReturn, final

import numpy as np

from psgd.core.errors import ProcessLost
from psgd.group.ray.coordinator import Gathered
from psgd.group.ray.library import import_ray

GRACE_SECONDS = 10.0  # for actors to leave after the job has ended, and for an answer beyond the coordinator's patience


@final
class Ray:
    kind = "ray"
    recovers = False

    def __init__(self, process: int, processes: int, coordinator: Any, patience: float) -> None:
        self.process = process
        self.members: Sequence[int] = range(processes)
        self.hosts: Sequence[int] = self.members
        self.on_signal: Callable[[int], None] = lambda signal: None  # called when the driver was asked to stop
        self._ray = import_ray()
        self._coordinator, self._patience = coordinator, patience
        self._memory: dict[str, memoryview] = {}
        self._loss = ""  # what is known of a lost actor
        self._exchanges = 0
        self._kept: Any = None  # the last row: objects that it refers to must live until the next exchange is complete

    def all_gather(self, row: bytes) -> list[bytes]:
        return self._exchange(row)

    def memory(self, name: str, size: int) -> memoryview:
        return self._memory.setdefault(name, memoryview(bytearray(size)))

    def barrier(self) -> None:
        pass

    def exchange_between_hosts(self, parts: Sequence[np.ndarray]) -> None:
        own = parts[self.process]
        # Ray passes a reference inside a list on as it is; it would replace a bare one by the object itself.
        rows = self._exchange([self._ray.put(own)] if own.size else [])
        senders = [p for p, row in enumerate(rows) if row and p != self.process]
        for sender, vector in zip(senders, self._get([rows[p][0] for p in senders]), strict=True):
            parts[sender][:] = vector

    def recover(self) -> NoReturn:
        self._end(ProcessLost.code, f"process {self.process}: {self._loss}")
        raise SystemExit(ProcessLost.code)

    def confirm_end(self) -> None:
        pass

    def abort(self, code: int) -> NoReturn:
        self._end(code, "")
        raise SystemExit(code)

    def _end(self, code: int, reason: str) -> None:
        """Make the others leave at their next exchange."""
        with contextlib.suppress(ProcessLost):
            self._get(self._coordinator.end.remote(code, reason))

    def _exchange(self, row: Any) -> list[Any]:
        gathered: Gathered = self._get(self._coordinator.all_gather.remote(self.process, self._exchanges, row))
        self._exchanges, self._kept = self._exchanges + 1, row
        if gathered.signal:
            self.on_signal(gathered.signal)
        if gathered.early_end:
            raise SystemExit(gathered.early_end.code)  # silently: the driver prints the reason
        return gathered.rows

    def _get(self, reference: Any) -> Any:
        try:
            return self._ray.get(reference, timeout=self._patience + GRACE_SECONDS)
        except self._ray.exceptions.RayError as error:  # the coordinator or the owner of a vector is gone
            self._loss = f"{type(error).__name__}: {first_line(error)}"
            raise ProcessLost(self._loss) from None


def first_line(error: BaseException) -> str:
    return str(error).strip().split("\n", 1)[0]
