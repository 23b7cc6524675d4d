"""Chooses the transport of MPI processes."""

from psgd.group.mpi import library
from psgd.group.mpi.fault_tolerant import FaultTolerantMpi
from psgd.group.mpi.transport import Mpi
from psgd.group.mpi.world import World


def open_transport(world: World, patience: float) -> Mpi | FaultTolerantMpi:
    """Collective: the transport for the MPI that runs. `patience`: seconds to wait for the others."""
    return (FaultTolerantMpi if library.is_fault_tolerant() else Mpi)(world, patience)
