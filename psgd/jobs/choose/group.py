"""Chooses where a job runs if the config says `group: auto`, and says why."""

from itertools import pairwise

from psgd.config.settings import Digits, Settings, Synthetic, SyntheticSparse
from psgd.core.cores import cores
from psgd.core.errors import UsageError
from psgd.core.launcher import disconnected, launched, unconnected_tasks

# Floating-point operations in a step below which threads are not worth starting: for the step itself, in which they
# take turns with Python's interpreter, and for each round, at whose end they wait for one another. Measured with two
# threads and networks of 2 to 4 layers. Averaging parameters every 20 steps, they were 0.9 times as fast as one with
# 8e6 operations, 1.3 to 1.4 times with 15e6; with a round for each step, 0.8 to 1.0 times with 30e6, 0.8 to 1.1 times
# with 60e6 to 140e6. Raised, more jobs run in one thread.
WORTH_A_STEP, WORTH_A_ROUND = 1e7, 5e7


def thread_count(settings: Settings) -> int:
    """The number of threads or local Ray actors: as configured, or one for each worker, but no more than cores."""
    return settings.cluster.processes or min(settings.worker_count, cores())


def check_launched(group: str, choices: str) -> None:
    """UsageError for a group other than MPI under an MPI launcher, and for several processes that do not know of each
    other. `choices`: the groups that the message offers."""
    if tasks := disconnected():
        raise UsageError(
            f"an MPI launcher started {tasks} processes (PMI_SIZE), but its connection (PMI_FD) is closed here, or "
            "another program has used it: each would train alone; let mpirun or srun start each program itself, or "
            "unset PMI_SIZE and PMI_FD to train alone"
        )
    if tasks := unconnected_tasks():
        raise UsageError(
            f"srun started {tasks} processes, but no MPI connects them: each would train alone; use srun --mpi=pmix or "
            "pmi2 (srun --mpi=list shows which there are), mpirun, or srun -n 1; in a shell that srun started, unset "
            "SLURM_STEP_ID to train alone"
        )
    if launched() and group not in ("auto", "mpi"):
        raise UsageError(
            f"group is {group}, but an MPI launcher started this: each of its processes would train alone; "
            f"use {choices}, or start python without mpirun"
        )


def choose_group(settings: Settings, weights: int | None = None) -> tuple[str, str]:
    """Choose (group, reason) for a job that no launcher started. `weights`: their number, if it is known."""
    if settings.workers == 1:
        return "serial", "one worker"
    if thread_count(settings) == 1:
        return "serial", "one core" if settings.cluster.processes is None else "cluster.processes is 1"
    if settings.cluster.processes:
        return "threads", f"cluster.processes is {thread_count(settings)}"
    work = 6.0 * settings.training.batch_size_per_worker * (weights or _weights(settings))
    period = settings.averaging.period if settings.averaging else 1
    if work < WORTH_A_STEP + (0 if period == "end" else WORTH_A_ROUND / period):
        return "serial", f"a step of about {work / 1e6:.1f} million operations is too short to gain from threads"
    return "threads", f"{thread_count(settings)} cores; mpirun -n {settings.workers} works too"


def _weights(settings: Settings) -> int:
    """An estimate of the number of weights: the data have not been read yet."""
    data = settings.data
    features = data.features if isinstance(data, Synthetic) else 64 if isinstance(data, Digits) else 784
    classes = data.classes if isinstance(data, Synthetic | SyntheticSparse) else 0
    sizes = [features, *settings.model.hidden, classes or 10]
    return sum(a * b for a, b in pairwise(sizes))
