"""All processes that an MPI launcher started: their start and end, and data that a host loads once."""

import mmap
import os
import signal
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, NoReturn, TypeVar, cast, final

import numpy as np

from psgd.core.errors import ProcessLost, StorageError
from psgd.core.launcher import launched, rank
from psgd.core.launcher_processes import is_broken, launcher_line
from psgd.core.log import LOG
from psgd.group import shared_arrays
from psgd.group.arrivals import Arrivals, table_bytes
from psgd.group.mpi import host_memory, library
from psgd.group.watchdog import Watchdog

Made = TypeVar("Made")
Message = TypeVar("Message")

INITIAL_SECONDS = 20.0  # of waiting at least, until the processes of a host can see which of them are busy
DEFAULT_PATIENCE = 300.0  # seconds, until the config has been read
ORPHAN_SECONDS = 10.0  # that a process has to save a checkpoint when the launcher is gone
ABORT_DELAY = 0.2  # seconds before an abort; where it is too short, a launcher may drop what was printed before


@final
class World:
    """All processes. UsageError if there is no MPI, or if it is not the launcher's.

    Its exchanges are for start-up only: messages are pickled, and waiting for a process that is busy takes no patience.
    """

    def __init__(self, patience: float = DEFAULT_PATIENCE) -> None:
        """Collective. `patience`: seconds to wait for the others, until more is known."""
        self.MPI = library.load()
        self.members: Sequence[int] = ()
        self.process = rank()
        self.communicator: Any = None  # of all members, once MPI is initialized
        self._launcher = launcher_line() if launched() else []  # process ids
        self._orphaned: float | None = None  # seconds since the launcher was gone
        self._host_ids: list[int] = []  # process ids on this host
        alone = Arrivals(memoryview(bytearray(table_bytes(1))), [0], 0)
        self.watchdog = Watchdog(max(patience, INITIAL_SECONDS), self._expired, alone, self._look_for_launcher)
        with self.watchdog, self._ending_at_a_loss():
            library.initialize(self.MPI)
            everyone = self.MPI.COMM_WORLD  # and those that an earlier call in the same program has lost
            self.communicator = everyone.Shrink() if library.is_fault_tolerant() else everyone.Dup()
            self.process, self.members = self.communicator.rank, range(self.communicator.size)
            self.host_peers = self.memory_peers = split_by_host(self.MPI, self.communicator)
            self._share_arrivals()
        self.watchdog.patience, self.watchdog.allows_busy = patience, True

    def _share_arrivals(self) -> None:
        """Keep arrivals in memory that the processes of this host share. Where they cannot share any, `memory_peers` is
        each process alone."""
        self._host_ids = self.host_peers.allgather(os.getpid())
        try:
            memory = host_memory.share(self.host_peers, table_bytes(self.host_peers.size))
        except StorageError as error:
            self.memory_peers = self.MPI.COMM_SELF
            if self.host_peers.rank == 0:
                LOG.warning(f"psgd: {error}; each process keeps its own copy of data and vectors, which is slower")
        else:
            self.memory_peers = self.host_peers
            processes = self.host_peers.allgather(self.process)
            self.watchdog.arrivals = Arrivals(memory, processes, self.host_peers.rank)

    def shrink(self) -> None:
        """Collective over the survivors, after processes were lost: go on with them alone. ProcessLost, or an error of
        MPI, if another one is lost meanwhile; then it can be called again."""
        with self.watchdog:
            self.communicator = self.communicator.Shrink()
            try:
                self.members = self.communicator.allgather(self.process)
                self.host_peers = split_by_host(self.MPI, self.communicator)
                complete = not self._is_loss(None)
            except Exception as error:
                if not self._is_loss(error):
                    raise
                complete = False
            if not complete:
                self.communicator.Revoke()
            # Else one process might wait in the new communicator of its host for another one that did not get it.
            if not library.agree(self.MPI, self.communicator, complete):
                raise ProcessLost("another process was lost")
            self._share_arrivals()

    @contextmanager
    def _collective(self, communicator: Any) -> Iterator[None]:
        """Wait for all before a collective call; if a process does not come to it or is lost, end the job."""
        with self.watchdog.arrive(), self._ending_at_a_loss():
            library.wait_for_all(communicator)
            yield

    @contextmanager
    def _ending_at_a_loss(self) -> Iterator[None]:
        """Before there is a transport, a lost process ends the job."""
        try:
            yield
        except Exception as error:
            if self._is_loss(error):
                self._expired(f"another process was lost before training began ({error})")
            raise
        if self._is_loss(None):
            self._expired("another process was lost before training began")

    def _is_loss(self, error: Exception | None) -> bool:
        return library.is_loss(self.MPI, error, [self.communicator] if self.communicator else [])

    def all_gather(self, row: bytes) -> list[bytes]:
        """Collective: everyone's row, in process order."""
        with self._collective(self.communicator):
            return list(self.communicator.allgather(row))

    def broadcast(self, message: Message) -> Message:
        """Collective: process 0's message."""
        with self._collective(self.communicator):
            return cast(Message, self.communicator.bcast(message, root=0))

    def load_once_per_host(self, make: Callable[[], Made]) -> Made | None:
        """Collective: what `make` returns. One process of each host calls it, the others share its arrays, which cannot
        be written to. An exception is raised there alone, and the others get None.

        Each process makes its own where arrays are mapped from files, or processes cannot share memory.
        """
        rank, made, packed = self.memory_peers.rank, None, None
        try:
            if rank == 0:
                made = make()
                packed = shared_arrays.pack(made) if self.memory_peers.size > 1 else None
        finally:
            sizes = packed.sizes if packed else []
            message = (made is not None, packed.pickled if packed else None, sizes)
            with self._collective(self.memory_peers):
                succeeded, pickled, sizes = self.memory_peers.bcast(message, root=0)
        if pickled is None:
            return make() if rank and succeeded else made
        made = None  # so that each array is freed as soon as it is copied
        with self._collective(self.memory_peers):
            memory = host_memory.share(self.memory_peers, shared_arrays.aligned_bytes(sizes))
        if packed:
            shared_arrays.copy_to_shared(packed.arrays, memory)
        with self._collective(self.memory_peers):
            pass
        # Touch every page now: in the first epoch each process would fault them in one by one, in random order.
        np.frombuffer(memory, np.uint8)[:: mmap.PAGESIZE].max(initial=0)
        return cast(Made, shared_arrays.unpack(pickled, sizes, memory))

    def close(self) -> None:
        """Collective, at the end."""
        try:
            with self.watchdog.arrive():
                library.wait_for_all(self.communicator)
        except self.MPI.Exception as error:
            if not self._is_loss(error):  # a loss is of no importance any more
                raise
        self.watchdog.close()

    def abort(self, code: int) -> NoReturn:
        """End every process at once, after a delay in which the launcher passes on what was printed."""
        time.sleep(ABORT_DELAY)
        if library.is_fault_tolerant():  # its MPI_Abort ends one process only, or none and leaves the launcher waiting
            self._kill_host_peers()
        elif self.MPI.Is_initialized():
            self.MPI.COMM_WORLD.Abort(code)
        elif "PMI_FD" in os.environ:  # MPICH's launcher would give the code of a process that it kills
            with suppress(OSError):
                os.write(int(os.environ["PMI_FD"]), b"cmd=abort exitcode=%d\n" % code)
            time.sleep(ABORT_DELAY)
        os._exit(code)

    def _kill_host_peers(self) -> None:
        """Kill the others of this host that the same launcher started, even those that are stopped."""
        for process in self._host_ids:
            with suppress(OSError, IndexError):
                parent = Path(f"/proc/{process}/stat").read_text().rsplit(")", 1)[1].split()[1]
                if process != os.getpid() and int(parent) == os.getppid():
                    os.kill(process, signal.SIGKILL)

    def _expired(self, message: str) -> NoReturn:
        self._say(message)
        self.abort(ProcessLost.code)

    def _look_for_launcher(self, seconds: float) -> None:
        """Stop training and leave if the launcher is gone, maybe killed: nobody else would end this process. A signal
        to Intel MPI's mpirun, a script, kills it alone, and what it started goes on."""
        if self._orphaned is None and not (self._launcher and is_broken(self._launcher)):
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


def split_by_host(mpi: Any, communicator: Any) -> Any:
    """Collective: the communicator of the processes on this host."""
    return communicator.Split_type(mpi.COMM_TYPE_SHARED)
