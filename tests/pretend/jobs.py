"""Jobs whose workers take their steps on a pretended GPU."""

from dataclasses import replace

import numpy as np

from psgd.backends.cuda.cuda_workers import CudaWorkers
from psgd.backends.device_workers import DeviceTask, ReplicaStep, Scored
from psgd.data.dataset import Dataset, Examples
from psgd.learners.mlp import MLP
from psgd.strategy.applications import GradientStep
from psgd.training.device_replica import can_combine
from psgd.training.job import Job

from .device import Pretend


def task_of(job: Job) -> DeviceTask:
    """Return the task of a job of tests/jobs.py, which has no settings to make it from."""
    assert isinstance(job.learner, MLP)
    assert isinstance(job.data.train, Dataset)
    local, optimizer = job.strategy.local, job.strategy.local.optimizer
    needs, train, application = job.strategy.needs, job.data.train, job.strategy.application
    step = application.optimizer if isinstance(application, GradientStep) else None
    return DeviceTask(
        *(job.learner.network, "cross-entropy", 1.0, 0.0, 0.0, optimizer.rule.name if optimizer else None),
        *(optimizer.clip_norm if optimizer else None, bool(optimizer and optimizer.plain), job.batch),
        *(train.inputs, train.targets.astype(np.int32), None, train.scale),
        *(needs.contribution_rows, needs.moment_rows, needs.state_rows, local.optimizer_state == "average"),
        replica_step=ReplicaStep(step.rule.name, step.clip_norm) if step else None,
        scored={name: _scored(part) for name, part in job.data.scored.items()},
    )


def _scored(part: Examples) -> Scored:
    assert isinstance(part, Dataset)
    return Scored(part.inputs, part.targets.astype(np.int32), None)


def on_pretend(job: Job, order: int = 0, whole: bool = False, combines: bool = False) -> Job:
    """The same job on a pretended GPU, whose threads run in this order. `whole`: of CudaWorkers; `combines`: on it."""
    device = CudaWorkers(Pretend(order=order), task_of(job), whole)
    return replace(job, device=device, combines_on_devices=combines and can_combine(job.strategy))
