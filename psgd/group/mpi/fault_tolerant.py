"""The transport of MPI processes that go on without those that were lost, by User Level Failure Mitigation (ULFM): Open
MPI's, where `mpirun --with-ft ulfm` started the job."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any, NoReturn, final

import numpy as np

from psgd.core.errors import ProcessLost
from psgd.group.mpi import library
from psgd.group.mpi.transport import Mpi
from psgd.group.mpi.world import World


@final
class FaultTolerantMpi:
    """An `Mpi` of the living processes; after a loss, another one of the survivors.

    A loss fails the calls of some processes and not of others. One that notices it revokes the communicators, so that
    all others do at their next call; and all meet in `Agree` and `Shrink`, the only calls that still work."""

    kind = "mpi"
    recovers = True

    def __init__(self, world: World, patience: float) -> None:
        """Collective; arguments as of Mpi."""
        self._world, self._patience = world, patience
        self.process = world.process
        self._memories: dict[str, memoryview] = {}  # they stay shared when processes are lost
        self._ended = False  # whether all have agreed that training has ended
        self._recovering = False  # whether all have agreed to recover
        self._make()

    def _make(self) -> None:
        self._leaders = self._world.MPI.COMM_NULL
        with self._losses():
            self._mpi = Mpi(self._world, self._patience)
            self._leaders = self._mpi.leaders
        self.members, self.hosts = self._mpi.members, self._mpi.hosts

    def all_gather(self, row: bytes) -> list[bytes]:
        with self._losses():
            return self._mpi.all_gather(row)

    def memory(self, name: str, size: int) -> memoryview:
        if name not in self._memories:
            with self._losses():
                self._memories[name] = self._mpi.memory(name, size)
        return self._memories[name]

    def barrier(self) -> None:
        with self._losses():
            self._mpi.barrier()

    def exchange_between_hosts(self, parts: Sequence[np.ndarray]) -> None:
        with self._losses():
            self._mpi.exchange_between_hosts(parts)

    def recover(self) -> None:
        if not self._recovering:
            self._agree(False)
        self._recovering, self._leaders = False, self._world.MPI.COMM_NULL
        with self._losses():
            self._world.shrink()
        self._make()
        with self._losses():
            self._forget_partly_shared()

    def confirm_end(self) -> None:
        self._ended = self._agree(True)
        if not self._ended:
            self._recovering = True
            raise ProcessLost("a process was lost at the end")

    def abort(self, code: int) -> NoReturn:
        self._world.abort(code)

    def close(self) -> None:
        """Collective. A process that leaves with an error, while others want to recover from a loss, ends the job."""
        if not self._ended and not self._agree(True):
            self.abort(ProcessLost.code)
        with suppress(ProcessLost), self._losses():
            self._mpi.close()

    @contextmanager
    def _losses(self) -> Iterator[None]:
        """Raise ProcessLost if a loss made the calls in the block fail, or is known at their end, and make the calls of
        all other processes fail too."""
        try:
            yield
        except Exception as error:
            if not library.is_loss(self._world.MPI, error, self._communicators()):
                raise
        else:
            if not library.is_loss(self._world.MPI, None, self._communicators()):
                return
        for communicator in self._communicators():
            communicator.Revoke()
        raise ProcessLost("a process was lost")

    def _communicators(self) -> list[Any]:
        all_of_them = self._world.communicator, self._world.host_peers, self._leaders
        return [one for one in all_of_them if one != self._world.MPI.COMM_NULL]

    def _agree(self, wish: bool) -> bool:
        with self._world.watchdog:
            return library.agree(self._world.MPI, self._world.communicator, wish)

    def _forget_partly_shared(self) -> None:
        """Forget memory that a loss kept some processes of this host from sharing."""
        names = self._mpi.memory_peers.allgather(list(self._memories))
        self._memories = {name: self._memories[name] for name in self._memories if all(name in each for each in names)}
