"""Chooses the transport of MPI processes."""

from psgd.group.mpi import host_memory, library
from psgd.group.mpi.fault_tolerant import FaultTolerantMpi
from psgd.group.mpi.transport import Mpi
from psgd.group.mpi.world import World


def open_transport(world: World, patience: float, shared_bytes: int) -> Mpi | FaultTolerantMpi:
    """Collective: the transport for the MPI that runs. `patience`: seconds to wait for the others; `shared_bytes`: the
    most that one host will share. Where it has not so much shared memory, each process counts as a host of its own: the
    same bits, more copies."""
    peers = world.host_peers
    shares_memory = peers.size == 1 or peers.bcast(host_memory.fits(shared_bytes), root=0)
    return (FaultTolerantMpi if library.is_fault_tolerant() else Mpi)(world, patience, shares_memory)
