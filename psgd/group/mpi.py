"""The MPI transport: windows of memory within a host, broadcasts between hosts."""

import platform
from collections.abc import Sequence
from typing import Any, NoReturn, final

import numpy as np

from psgd.group import mpi_world, spin_barrier
from psgd.group.mpi_world import World, shared_window
from psgd.group.spin_barrier import SpinBarrier

STORES_IN_ORDER = ("x86_64", "AMD64")  # processors on which other cores see stores in the order in which they were made


@final
class Mpi:
    """The transport of MPI processes: those of a host share windows of memory, hosts exchange sums by broadcasts."""

    kind = "mpi"
    recovers = False

    def __init__(self, world: World, patience: float, shared_bytes: int) -> None:
        """Collective. `patience`: seconds to wait for the others; `shared_bytes`: the most that one host will share."""
        self._MPI, self._watchdog, self._all = world.MPI, world.watchdog, world
        self._watchdog.patience = patience
        self.process = world.process
        self._windows: dict[str, tuple[Any, np.ndarray]] = {}
        with self._watchdog.arrive():
            self._split_by_host(world, shared_bytes)
        self._barrier = self._new_barrier()
        self._watchdog.allows_busy = False

    def _split_by_host(self, world: World, shared_bytes: int) -> None:
        self._world = self._MPI.COMM_WORLD.Dup()
        self.members: Sequence[int] = range(self._world.size)
        self._host_peers = world.host_peers
        if self._host_peers.size > 1 and not self._host_peers.bcast(
            mpi_world.fits_in_shared_memory(shared_bytes), root=0
        ):
            self._host_peers = self._MPI.COMM_SELF  # every process a host of its own: the same bits, more copies
        host = self._host_peers.bcast(self.process, root=0)
        self.hosts: Sequence[int] = self._world.allgather(host)
        self._leaders = self._world.Split(0 if host == self.process else self._MPI.UNDEFINED, self.process)

    def _new_barrier(self) -> SpinBarrier:
        rank, size = self._host_peers.rank, self._host_peers.size
        memory = self.memory("barrier", spin_barrier.barrier_bytes(size))
        fence = None if platform.machine() in STORES_IN_ORDER else self._windows["barrier"][0].Sync
        # Even a process that has left an MPI call may have to push on a message for which another one waits: probing
        # for a message that never comes makes MPI do so.
        return SpinBarrier(memory, rank, size, fence, self._world.Iprobe)

    def all_gather(self, row: bytes) -> list[bytes]:
        if self._barrier.processes == self._world.size and len(row) <= spin_barrier.MAX_ROW_BYTES:
            with self._watchdog.arrive():
                return self._barrier.all_gather(row)
        size, rows = len(row), bytearray(len(row) * self._world.size)
        with self._watchdog.arrive():
            self._world.Allgather([row, self._MPI.BYTE], [rows, self._MPI.BYTE])
        return [bytes(rows[i * size : (i + 1) * size]) for i in range(self._world.size)]

    def memory(self, name: str, size: int) -> memoryview:
        if name not in self._windows:
            with self._watchdog.arrive():
                window, part = shared_window(self._MPI, self._host_peers, size)
                window.Lock_all()
                if self._host_peers.rank == 0:
                    part[:] = 0
                self._host_peers.Barrier()
            self._windows[name] = (window, part)
        return self._windows[name][1].data

    def barrier(self) -> None:
        with self._watchdog.arrive():
            self._barrier.wait()

    def exchange_between_hosts(self, parts: Sequence[np.ndarray]) -> None:
        with self._watchdog:  # the other processes of the host do not arrive at it
            for root, part in enumerate(parts):
                if part.size:
                    self._leaders.Bcast([part, self._MPI.BYTE], root=root)

    def recover(self) -> None:
        raise AssertionError("without fault tolerance, MPI itself ends the job when a process dies")

    def abort(self, code: int) -> NoReturn:
        self._all.abort(code)

    def close(self) -> None:
        """Collective: free the windows, so that nothing stays behind in shared memory."""
        with self._watchdog.arrive():
            for window, _ in self._windows.values():
                window.Unlock_all()
                window.Free()
            self._windows.clear()
            for communicator in (self._leaders, self._world):
                if communicator != self._MPI.COMM_NULL:
                    communicator.Free()
