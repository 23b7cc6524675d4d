"""Jobs whose workers take their steps on a pretended GPU."""

from dataclasses import replace

import numpy as np

from psgd.backends.cuda.cuda_workers import CudaWorkers
from psgd.backends.hosted import HostedTask
from psgd.data.dataset import Dataset
from psgd.learners.mlp import MLP
from psgd.training.job import Job

from .device import Pretend


def task_of(job: Job) -> HostedTask:
    """Return the task of a job of tests/jobs.py, which has no settings to make it from."""
    assert isinstance(job.learner, MLP)
    assert isinstance(job.data.train, Dataset)
    optimizer, state = job.strategy.local.recipe
    needs, train = job.strategy.needs, job.data.train
    return HostedTask(
        *(job.learner.network, "cross-entropy", 1.0, 0.0, 0.0, optimizer.rule.name if optimizer else None),
        *(optimizer.clip_norm if optimizer else None, bool(optimizer and optimizer.plain), job.batch),
        *(train.inputs, train.targets.astype(np.int32), None, train.scale),
        *(needs.contribution_rows, needs.moment_rows, needs.state_rows, state == "average"),
    )


def on_pretend(job: Job, order: int = 0, whole: bool = False) -> Job:
    """The same job on a pretended GPU, whose threads run in this order. `whole`: of CudaWorkers."""
    return replace(job, device=CudaWorkers(Pretend(order=order), task_of(job), whole))
