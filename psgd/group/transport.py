"""What a group needs of threads, MPI or Ray: to move bytes and share memory. It adds nothing up."""

from collections.abc import Sequence
from typing import Protocol

import numpy as np

from psgd.group.failure import Exchange


class Transport(Exchange, Protocol):
    """One process's end. Collective calls are made by all living processes in the same order; any but `abort` may
    raise ProcessLost, at some processes and not at others."""

    kind: str  # serial, threads, mpi, ray
    hosts: Sequence[int]  # of each member: the first member that it shares memory with

    def memory(self, name: str, size: int) -> memoryview:
        """Collective: `size` bytes that all members of this host share; the same memory for the same name."""
        ...

    def barrier(self) -> None:
        """Collective over this host's members: what they wrote to shared memory before is seen after."""
        ...

    def exchange_between_hosts(self, parts: Sequence[np.ndarray]) -> None:
        """Collective over the hosts' first members: part i is sent by host i (in order of hosts) and received by the
        others, in place. Parts are contiguous."""
        ...

    def recover(self) -> None:
        """Collective over the survivors, after ProcessLost: agree on the members and start afresh with them."""
        ...
