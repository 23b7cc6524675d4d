"""Chooses what takes the steps of a job, the CPU or GPUs, and opens the GPU of a process."""

from collections.abc import Callable
from dataclasses import replace
from functools import partial

from psgd.backends.device_workers import DeviceTask, DeviceWorkers, ReplicaStep, Scored
from psgd.config.settings import Settings
from psgd.core.errors import UsageError
from psgd.core.log import LOG
from psgd.data.dataset import Data, Dataset
from psgd.group.failure import Agreement, Exchange
from psgd.group.placement import default_placement
from psgd.jobs.choose.gpus import count_gpus, no_gpu, stays_on_cpu
from psgd.learners.learner import Learner
from psgd.learners.losses import LOSSES
from psgd.learners.mlp import MLP
from psgd.strategy.applications import GradientStep
from psgd.strategy.strategy import Strategy
from psgd.training.device_replica import can_combine
from psgd.training.job import Job

MOST_COMBINED = 256  # workers whose contributions GPUs combine; the time to compile that grows with their square
LARGEST = 2**31 - 1  # number of examples, parameters or inputs of all examples of a batch: kernels count in 32 bits


def choose_device(
    settings: Settings, learner: Learner, data: Data, strategy: Strategy
) -> Callable[[int, int], DeviceWorkers | None] | None:
    """Return what opens a GPU (see Job.open_device), or None on all processes if none can train this job: UsageError
    then, if device is cuda. Looks for no GPU yet, since the driver of Ray's actors needs none."""
    reason = stays_on_cpu(settings)
    if not reason and isinstance(learner, MLP) and isinstance(data.train, Dataset):
        task = task_of(settings, learner, data, strategy)
        rows = settings.worker_count * task.batch * max(task.network.layout.sizes)
        if max(len(task.inputs), learner.size * settings.worker_count, rows) <= LARGEST:
            return partial(_open, settings, task)
        reason = f"a GPU counts examples, and the parameters and outputs of all workers, up to {LARGEST:,}"
    if settings.device == "cuda":
        raise no_gpu(reason)
    return None


def task_of(settings: Settings, learner: MLP, data: Data, strategy: Strategy) -> DeviceTask:
    """What a device must know of a job on dense data."""
    optimizer = strategy.local.optimizer
    needs, model, application = strategy.needs, settings.model, strategy.application
    parts = {name: part for name, part in {"train": data.train, **data.scored}.items() if isinstance(part, Dataset)}
    examples = parts["train"]
    scored = {name: _scored(part) for name, part in parts.items() if name != "train"}
    replica_step = None
    if isinstance(application, GradientStep):
        replica_step = ReplicaStep(application.optimizer.rule.name, application.optimizer.clip_norm)
    return DeviceTask(
        network=learner.network,
        loss=model.loss,
        huber_threshold=model.huber_threshold,
        l1=settings.optimizer.l1,
        l2=settings.optimizer.l2,
        rule=optimizer.rule.name if optimizer else None,
        clip_norm=optimizer.clip_norm if optimizer else None,
        plain=bool(optimizer and optimizer.plain),
        batch=settings.training.batch_size_per_worker,
        **_scored(examples)._asdict(),
        scale=examples.scale,
        contribution_rows=needs.contribution_rows,
        moment_rows=needs.moment_rows,
        state_rows=needs.state_rows,
        averages_moments=strategy.local.optimizer_state == "average",
        tf32=settings.training.tf32,
        replica_step=replica_step,
        scored=scored,
        threshold=LOSSES[model.loss].threshold if model.loss in LOSSES else DeviceTask._field_defaults["threshold"],
    )


def _scored(examples: Dataset) -> Scored:
    labels, targets = (examples.targets, None) if examples.classes else (None, examples.targets)
    return Scored(examples.inputs, labels, targets)


def with_device(job: Job, processes: Exchange, local_rank: int, agreement: Agreement) -> Job:
    """Collective: the job with the device of this process opened, unless it is for CPUs or that has been tried. To be
    called by the thread that trains. `local_rank`: of this process among those of its host. UsageError if a device
    cannot be opened or lacks memory."""
    if job.open_device is None:  # on all processes
        return job
    hosted = len(default_placement(job.workers, processes.members)[processes.process])
    device = agreement.together(partial(job.open_device, local_rank, hosted))
    # All local ranks are ranks if there is one host, and only then.
    joins = device is not None and hosted > 0 and local_rank == processes.members.index(processes.process)
    joins &= job.workers <= MOST_COMBINED and can_combine(job.strategy)
    combines = all(row == b"y" for row in processes.all_gather(b"y" if joins else b"n"))
    return replace(job, device=device, open_device=None, combines_on_devices=combines)


def _open(settings: Settings, task: DeviceTask, local_rank: int, workers: int) -> DeviceWorkers | None:
    """Open this process's GPU, number `local_rank` modulo their number, with memory for its workers, if it computes
    what the CPU does; None if there is none here. UsageError in place of None if device is cuda."""
    gpus, reason = count_gpus(settings)
    if not gpus:
        if settings.device == "cuda":
            raise no_gpu(reason)
        return None
    try:
        return _tried(local_rank % gpus, task, workers)
    except UsageError as error:
        if settings.device == "cuda":
            raise UsageError(f"{error}; device: cpu trains on the CPU") from None
        LOG.warning("psgd: warning: %s: training on the CPU (device: cpu says nothing)", error)
        return None


def _tried(number: int, task: DeviceTask, workers: int) -> DeviceWorkers:
    """Open a GPU and try it on a small training. UsageError whatever fails, since CuPy raises errors of many types."""
    from psgd.backends.cuda import cupy_device
    from psgd.backends.cuda.cuda_workers import CudaWorkers
    from psgd.jobs.choose.device_trial import try_device

    device = cupy_device.open_device(number)
    try:
        try_device(device, task, workers)
        device_workers = CudaWorkers(device, task)
        if workers:
            device_workers.host(workers)  # fails here, together, if it lacks memory
        return device_workers
    except UsageError:
        raise
    except Exception as error:
        reason = next(iter(str(error).splitlines()), "")
        raise UsageError(f"the {device.name} fails a trial: {type(error).__name__}: {reason}") from error
