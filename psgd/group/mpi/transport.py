"""The MPI transport: shared memory within a host, broadcasts between hosts."""

import platform
from collections.abc import Sequence
from typing import NoReturn, final

import numpy as np

from psgd.group import spin_barrier
from psgd.group.mpi import host_memory
from psgd.group.mpi.world import World
from psgd.group.spin_barrier import SpinBarrier

STORES_IN_ORDER = ("x86_64", "AMD64")  # processors on which other cores see stores in the order in which they were made


@final
class Mpi:
    """The transport of MPI processes: those of a host share memory, hosts exchange sums by broadcasts."""

    kind = "mpi"
    recovers = False

    def __init__(self, world: World, patience: float) -> None:
        """Collective. `patience`: seconds to wait for the others. Processes that cannot share memory count as hosts of
        their own: the same bits, more copies."""
        self._world, self._MPI, self._watchdog = world, world.MPI, world.watchdog
        self._watchdog.patience = patience
        self.process, self.members = world.process, world.members
        self._memories: dict[str, memoryview] = {}
        self._communicator = world.communicator
        self.memory_peers = world.memory_peers
        with self._watchdog.arrive():
            host = self.memory_peers.bcast(self.process, root=0)
            self.hosts: Sequence[int] = self._communicator.allgather(host)
            self.leaders = self._communicator.Split(0 if host == self.process else self._MPI.UNDEFINED)
        self._barrier = self._new_barrier() if platform.machine() in STORES_IN_ORDER else None
        self._watchdog.allows_busy = False

    def _new_barrier(self) -> SpinBarrier:
        rank, size = self.memory_peers.rank, self.memory_peers.size
        memory = self.memory("barrier", spin_barrier.barrier_bytes(size))
        # Even a process that has left an MPI call may have to push on a message for which another one waits: probing
        # for a message that never comes makes MPI do so. With fault tolerance it also raises that a process was lost.
        return SpinBarrier(memory, rank, size, self._communicator.Iprobe)

    def all_gather(self, row: bytes) -> list[bytes]:
        if (
            self._barrier
            and self._barrier.processes == self._communicator.size
            and len(row) <= spin_barrier.MAX_ROW_BYTES
        ):
            with self._watchdog.arrive():
                return self._barrier.all_gather(row)
        size, rows = len(row), bytearray(len(row) * self._communicator.size)
        with self._watchdog.arrive():
            self._communicator.Allgather([row, self._MPI.BYTE], [rows, self._MPI.BYTE])
        return [bytes(rows[i * size : (i + 1) * size]) for i in range(self._communicator.size)]

    def memory(self, name: str, size: int) -> memoryview:
        if name not in self._memories:
            with self._watchdog.arrive():
                self._memories[name] = host_memory.share(self.memory_peers, size)
        return self._memories[name]

    def barrier(self) -> None:
        with self._watchdog.arrive():
            if self._barrier:
                self._barrier.wait()
            else:  # MPI's messages order stores: what was stored before one was sent is seen where it is received
                self.memory_peers.Barrier()

    def exchange_between_hosts(self, parts: Sequence[np.ndarray]) -> None:
        with self._watchdog:  # the other processes of the host do not arrive at it
            for root, part in enumerate(parts):
                if part.size:
                    self.leaders.Bcast([part, self._MPI.BYTE], root=root)

    def recover(self) -> None:
        raise AssertionError("without fault tolerance, MPI itself ends the job when a process dies")

    def confirm_end(self) -> None:
        pass

    def abort(self, code: int) -> NoReturn:
        self._world.abort(code)

    def close(self) -> None:
        """Collective: free what MPI holds."""
        with self._watchdog.arrive():
            if self.leaders != self._MPI.COMM_NULL:
                self.leaders.Free()
