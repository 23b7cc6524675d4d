"""What a group needs of threads, MPI or Ray: to move bytes and to share memory. A transport never adds anything up."""

import json
from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np

from psgd.group.failure import Exchange


class Transport(Exchange, Protocol):
    """One process's end. All living processes make the collective calls in the same order. Each of them but `abort` may
    raise ProcessLost, on some processes and not on others."""

    kind: str  # serial, threads, mpi, ray
    hosts: Sequence[int]  # for each member, the first member on the same host: those two share memory
    recovers: bool  # whether survivors can go on after a loss; if not, a lost process ends the job

    def memory(self, name: str, size: int) -> memoryview:
        """Collective: `size` bytes that all members of this host share; the same memory for the same name."""
        ...

    def barrier(self) -> None:
        """Collective over this host's members: writes to shared memory before it are seen after it."""
        ...

    def exchange_between_hosts(self, parts: Sequence[np.ndarray]) -> None:
        """Collective over the first members of the hosts: host i (in order of hosts) sends part i, the others receive
        it in place. Parts are contiguous."""
        ...

    def recover(self) -> None:
        """Collective over the survivors, after ProcessLost: agree on the members and start afresh with them."""
        ...

    def confirm_end(self) -> None:
        """Collective, when training has ended: return once all living processes have got here. ProcessLost, on all of
        them, if some have to recover first."""
        ...


def all_gather_json(exchange: Exchange, value: dict[str, Any]) -> list[dict[str, Any]]:
    """Collective: every process's value, in the order of members."""
    text = json.dumps(value).encode()
    lengths = exchange.all_gather(len(text).to_bytes(8, "little"))
    longest = max(int.from_bytes(length, "little") for length in lengths)
    return [json.loads(row) for row in exchange.all_gather(text.ljust(longest))]  # rows must be equally long
