"""Detecting an MPI launcher by the environment variables that it sets. Imports neither MPI nor numpy."""

import os
import select

SIZES = ("OMPI_COMM_WORLD_SIZE", "PMI_SIZE")  # environment variables in which launchers give the number of processes
RANKS = ("OMPI_COMM_WORLD_RANK", "PMI_RANK", "PMIX_RANK")  # in which they give the number of this one


def launched() -> bool:
    """Return whether an MPI launcher started this process. Variables that were inherited from a launcher which is not
    there to answer, as in an interactive shell of Slurm, do not count: MPI would abort."""
    names = os.environ
    if "OMPI_COMM_WORLD_SIZE" in names:
        return True
    if is_single_task():
        return False
    if "PMI_FD" in names:
        return _is_open(names["PMI_FD"])
    if "PMI_SIZE" in names and (names["PMI_SIZE"] != "1" or "PMI_PORT" in names):
        return True
    return "PMIX_RANK" in names and any(name.startswith("PMIX_SERVER_URI") for name in names)


def is_single_task() -> bool:
    """Return whether srun of Slurm started this process, and no other with it. Where an MPI is Slurm's default, srun
    sets the variables of MPI for such a process, too, which needs none and may have none."""
    names = os.environ
    by_mpirun = "MPI_LOCALNRANKS" in names or not names.get("PMIX_NAMESPACE", "slurm.").startswith("slurm.")
    return names.get("SLURM_STEP_NUM_TASKS") == "1" and names.get("PMI_SIZE", "1") == "1" and not by_mpirun


def rank() -> int:
    """Return the number of this process among those that an MPI launcher started, or 0 where none did or it does not
    say."""
    given = [os.environ.get(name, "") for name in RANKS] if launched() else []
    return next((int(number) for number in given if number.isdigit()), 0)


def disconnected() -> int:
    """Return how many processes an MPI launcher started if this is one of several and has lost the connection to it, as
    when a program between the two closes its files, or when another one has used it before; or 0."""
    count = os.environ.get("PMI_SIZE", "")
    lost = "PMI_FD" in os.environ and count.isdigit() and not launched()
    return int(count) if lost and int(count) > 1 else 0


def unconnected_tasks() -> int:
    """Return how many processes srun started that no MPI connects, or 0 if there are not several."""
    tasks = os.environ.get("SLURM_STEP_NUM_TASKS") or os.environ.get("SLURM_NTASKS", "")
    started = "SLURM_STEP_ID" in os.environ and tasks.isdigit() and not launched()
    return int(tasks) if started and int(tasks) > 1 else 0


def _is_open(descriptor: str) -> bool:
    """Whether a connection to a launcher is open at both ends: launchers close theirs once a program has used it."""
    try:
        poll = select.poll()
        poll.register(int(descriptor), 0)
        return not poll.poll(0)  # which reports what is closed or no file
    except (OSError, ValueError, OverflowError):
        return False
