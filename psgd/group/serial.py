"""The transport of a single process, which hosts every worker."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, NoReturn, final

if TYPE_CHECKING:
    import numpy as np  # not at run time: a dry run does without


@final
class Serial:
    kind = "serial"
    process = 0
    members: Sequence[int] = (0,)
    hosts: Sequence[int] = (0,)
    recovers = False

    def __init__(self) -> None:
        self._memory: dict[str, memoryview] = {}

    def all_gather(self, row: bytes) -> list[bytes]:
        return [row]

    def memory(self, name: str, size: int) -> memoryview:
        return self._memory.setdefault(name, memoryview(bytearray(size)))

    def barrier(self) -> None:
        pass

    def exchange_between_hosts(self, parts: Sequence[np.ndarray]) -> None:
        pass

    def recover(self) -> None:
        raise AssertionError("one process cannot lose another")

    def confirm_end(self) -> None:
        pass

    def abort(self, code: int) -> NoReturn:
        raise SystemExit(code)
