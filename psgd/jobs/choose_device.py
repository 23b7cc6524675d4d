"""Chooses what takes the steps of a job, the CPU or GPUs, and opens the GPU of a process."""

from collections.abc import Callable
from dataclasses import replace
from functools import partial

from psgd.backends.hosted import HostedTask, HostedWorkers
from psgd.config.settings import Settings
from psgd.core.errors import UsageError
from psgd.core.log import LOG
from psgd.data.dataset import Data, Dataset
from psgd.group.failure import Agreement, Exchange
from psgd.group.placement import default_placement
from psgd.jobs.gpus import count_gpus, no_gpu
from psgd.learners.learner import Learner
from psgd.learners.mlp import MLP
from psgd.strategy.strategy import Strategy
from psgd.training.job import Job

LARGEST = 2**31 - 1  # number of examples, parameters or inputs of all examples of a batch: kernels count in 32 bits


def choose_device(
    settings: Settings, learner: Learner, data: Data, strategy: Strategy
) -> Callable[[int, int], HostedWorkers | None] | None:
    """Return what opens a GPU (see Job.open_device), or None for the CPU. UsageError if device is cuda and no GPU can
    train this job."""
    gpus, reason = count_gpus(settings)
    if gpus and isinstance(learner, MLP) and isinstance(data.train, Dataset):
        task = task_of(settings, learner, data.train, strategy)
        rows = settings.worker_count * task.batch * max(task.network.layout.sizes)
        if max(len(task.inputs), learner.size * settings.worker_count, rows) <= LARGEST:
            return partial(_open, settings.device, gpus, task)
        reason = f"a GPU counts examples, and the parameters and outputs of all workers, up to {LARGEST:,}"
    if settings.device == "cuda":
        raise no_gpu(reason)
    return None


def task_of(settings: Settings, learner: MLP, examples: Dataset, strategy: Strategy) -> HostedTask:
    """What a device must know of a job."""
    optimizer, state = strategy.local.recipe
    needs, model = strategy.needs, settings.model
    labels, targets = (examples.targets, None) if examples.classes else (None, examples.targets)
    return HostedTask(
        network=learner.network,
        loss=model.loss,
        huber_threshold=model.huber_threshold,
        l1=settings.optimizer.l1,
        l2=settings.optimizer.l2,
        rule=optimizer.rule.name if optimizer else None,
        clip_norm=optimizer.clip_norm if optimizer else None,
        plain=bool(optimizer and optimizer.plain),
        batch=settings.training.batch_size_per_worker,
        inputs=examples.inputs,
        labels=labels,
        targets=targets,
        scale=examples.scale,
        contribution_rows=needs.contribution_rows,
        moment_rows=needs.moment_rows,
        state_rows=needs.state_rows,
        averages_moments=state == "average",
        tf32=settings.training.tf32,
    )


def with_device(job: Job, processes: Exchange, place: int, agreement: Agreement) -> Job:
    """Collective: the job with the device of this process opened, if it is to have one and that has not been tried. The
    thread that calls is the one that trains. `place`: the number of this process among those of its host. UsageError if
    a device cannot be opened or lacks memory."""
    if job.open_device is None:
        return job
    hosted = len(default_placement(job.workers, processes.members)[processes.process])
    device = agreement.together(partial(job.open_device, place, hosted))
    return replace(job, device=device, open_device=None)


def _open(wanted: str, gpus: int, task: HostedTask, place: int, workers: int) -> HostedWorkers | None:
    """Open GPU number `place`, counted anew behind the last, with memory for so many workers."""
    from psgd.backends.cuda import cupy_device
    from psgd.backends.cuda.cuda_workers import CudaWorkers

    try:
        device = CudaWorkers(cupy_device.open_device(place % gpus), task)
        if workers:
            device.host(workers)  # fails here, together, if it lacks memory
        return device
    except UsageError as error:
        if wanted == "cuda":
            raise
        LOG.warning("psgd: %s: training on the CPU", error)
        return None
