"""The transport of Ray actors: each is a process, and a host of its own. Survivors go on after a loss.

Rows and small vectors go through the coordinator; larger vectors go through Ray's object store.
"""

import contextlib
from collections.abc import Callable, Sequence
from typing import Any, NoReturn, final

import numpy as np

from psgd.core.errors import ProcessLost
from psgd.group.ray.coordinator import Gathered
from psgd.group.ray.library import import_ray

GRACE_SECONDS = 10.0  # for actors to leave after the job has ended, and for an answer beyond the coordinator's patience
REPLY_BYTES = 90_000  # of all vectors of an exchange; Ray puts replies of 102,400 bytes and more into its object store


@final
class Ray:
    kind = "ray"

    def __init__(self, process: int, processes: int, coordinator: Any, patience: float) -> None:
        self.process = process
        self.members: Sequence[int] = range(processes)
        self.hosts: Sequence[int] = self.members
        self.recovers = processes > 1
        self.on_signal: Callable[[int], None] = lambda signal: None  # called when the driver was asked to stop
        self._ray = import_ray()
        self._coordinator, self._patience = coordinator, patience
        self._memory: dict[str, memoryview] = {}
        self._kept: Any = None  # the last row: objects that it refers to must live until the next exchange is complete

    def all_gather(self, row: bytes) -> list[bytes]:
        return self._exchange(row)

    def memory(self, name: str, size: int) -> memoryview:
        """Pages that are never written to, as those of workers elsewhere, take no room."""
        return self._memory.setdefault(name, np.zeros(size, np.uint8).data)

    def barrier(self) -> None:
        pass

    def exchange_between_hosts(self, parts: Sequence[np.ndarray]) -> None:
        rank = self.members.index(self.process)
        own = parts[rank]
        # Ray passes a reference inside a list on as it is; it would replace a bare one by the object itself.
        rows = self._exchange(own if own.nbytes * len(parts) <= REPLY_BYTES else [self._ray.put(own)])
        stored = [i for i, row in enumerate(rows) if isinstance(row, list) and i != rank]
        vectors = dict(zip(stored, self._vectors([rows[i][0] for i in stored]), strict=True))
        for i, part in enumerate(parts):
            if i != rank:
                part[:] = vectors.get(i, rows[i])

    def recover(self) -> None:
        self.members = self.hosts = list(self._gathered(self._coordinator.recover.remote(self.process)))

    def confirm_end(self) -> None:
        self._exchange(b"")

    def ask_driver(self, question: Any) -> Any:
        """What the driver answers, however long that takes."""
        return self._answer(self._coordinator.ask.remote(question), None)

    def abort(self, code: int) -> NoReturn:
        """Make the others leave at their next exchange."""
        with contextlib.suppress(SystemExit):
            self._answer(self._coordinator.end.remote(code, "", self.process), GRACE_SECONDS)
        raise SystemExit(code)

    def _exchange(self, row: Any) -> list[Any]:
        """Everyone's row, in the order of members; or ProcessLost, on all of them."""
        rows = self._gathered(self._coordinator.all_gather.remote(self.process, row))
        self._kept = row
        return list(rows.values())

    def _gathered(self, reference: Any) -> dict[int, Any]:
        gathered: Gathered = self._answer(reference, self._patience + GRACE_SECONDS)
        if gathered.signal:
            self.on_signal(gathered.signal)
        if gathered.early_end:
            raise SystemExit(gathered.early_end.code)  # silently: the driver prints the reason
        if gathered.rows is None:
            raise ProcessLost("another process was lost")
        return gathered.rows

    def _answer(self, reference: Any, seconds: float | None) -> Any:
        """What the coordinator answers. SystemExit if it was lost or does not answer in time: the driver, which finds
        that out too, says it."""
        try:
            return self._ray.get(reference, timeout=seconds)
        except self._ray.exceptions.RayError:
            raise SystemExit(ProcessLost.code) from None

    def _vectors(self, references: list[Any]) -> list[np.ndarray]:
        try:
            vectors: list[np.ndarray] = self._ray.get(references, timeout=self._patience + GRACE_SECONDS)
        except self._ray.exceptions.RayError as error:  # their owner was lost
            raise ProcessLost(f"{type(error).__name__}: {first_line(error)}") from None
        return vectors


def first_line(error: BaseException) -> str:
    return str(error).strip().split("\n", 1)[0]
