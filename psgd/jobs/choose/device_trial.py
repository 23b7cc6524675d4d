"""A small training on a GPU and on the CPU, compared before a job is trusted to the GPU.

It uses the kernels that the job will use: nothing is compiled for it alone but the sum of two contributions.
"""

from collections.abc import Iterator
from typing import final

import numpy as np

from psgd.backends.cuda.cuda_workers import CudaWorkers
from psgd.backends.cuda.device import Device
from psgd.backends.cuda.resident import fits
from psgd.backends.device_workers import DeviceTask, Scored
from psgd.core.errors import UsageError
from psgd.data.dataset import Dataset
from psgd.learners.learner import Batch, TrainState
from psgd.learners.losses import LOSSES, huber
from psgd.learners.mlp import MLP
from psgd.optimizers.optimizer import Optimizer
from psgd.optimizers.rules import SGD, Adam, Rule
from psgd.optimizers.schedule import Schedule

SIZES, BATCH, STEPS, WORKERS, EXAMPLES, RATE = (7, 5, 3), 5, 4, 2, 24, 0.2
# Differences that are allowed, relative to the distance moved, by the bytes of a number: ten times those of products
# and exponentials that are rounded otherwise. Sums of contributions have the CPU's bits.
TOLERANCES = {4: 1e-4, 8: 1e-11}
# With Adam's usual epsilon of 1e-8, a gradient that is almost 0 would move a parameter by its sign, which is rounding.
RULES: dict[str, Rule] = {
    "sgd": SGD(),
    "momentum": SGD(0.9),
    "nesterov": SGD(0.9, nesterov=True),
    "adam": Adam(epsilon=1.0),
    "amsgrad": Adam(epsilon=1.0, amsgrad=True),
}

_Found = tuple[str, np.ndarray, np.ndarray, np.ndarray | float, float]  # what, there, here, at the start, tolerance


def try_device(device: Device, task: DeviceTask, workers: int) -> None:
    """UsageError with both numbers if the GPU computes something else than the CPU. `workers`: of this process."""
    dtype, rule = task.network.dtype, task.rule or (task.replica_step.rule if task.replica_step else "sgd")
    plain = task._replace(
        rule=rule,
        plain=rule == "sgd",
        contribution_rows=1,
        moment_rows=RULES[rule].moment_rows,
        clip_norm=None,
        l1=0.0,
        l2=0.0,
        state_rows=0,
        averages_moments=False,
        replica_step=None,
        tf32=False,
    )
    tiny = MLP(SIZES, "tanh", "softmax", LOSSES["cross-entropy"], dtype)
    steps = plain._replace(network=tiny.network, loss="cross-entropy", batch=BATCH, labels=np.zeros(0, np.int32))
    trials = [_Trial(device, steps, tiny, WORKERS, whole=False)]
    inputs = np.dtype(np.uint8) if task.inputs.dtype == np.uint8 else dtype
    if workers and fits(task, device, inputs, workers):  # a segment is one launch of a kernel for this very network
        sizes, activations = task.network.layout.sizes, task.network.activations
        loss = huber(task.huber_threshold) if task.loss == "huber" else LOSSES[task.loss]
        own = MLP(sizes, activations[0], activations[-1], loss, dtype)
        trials.append(_Trial(device, plain, own, workers, whole=True))
    for trial in trials:
        # Again on other data: near 0, where relu and the hinge loss have kinks, rounding may choose the other side.
        if trial.failure(0) and (failure := trial.failure(1)):
            raise UsageError(f"the {device.name} fails a trial of {STEPS} steps: {failure}")


@final
class _Trial:
    def __init__(self, device: Device, task: DeviceTask, learner: MLP, workers: int, whole: bool) -> None:
        self._device, self._task, self._learner = device, task, learner
        self._workers, self._whole = workers, whole

    def failure(self, seed: int) -> str | None:
        """Train here and there. Returns what differs, with both numbers, as a part of a sentence; None if nothing
        does."""
        for what, got, want, origin, tolerance in self._found(seed):
            difference = float(np.linalg.norm(got - want) / np.linalg.norm(want - origin))
            if not difference <= tolerance:  # also if it is nan
                return (
                    f"{what} differ from the CPU's by {difference:.1e} of the distance moved, not at most {tolerance:g}"
                )
        return None

    def _found(self, seed: int) -> Iterator[_Found]:
        """Train the first two workers, and average them."""
        learner, draw, count = self._learner, np.random.default_rng(seed), min(self._workers, 2)
        data = _some_data(self._task, learner, draw)
        part = Scored(data.inputs, *((data.targets, None) if data.classes else (None, data.targets)))
        task = self._task._replace(**part._asdict(), scale=data.scale, scored={} if self._whole else {"test": part})
        device_workers, optimizer = (
            CudaWorkers(self._device, task, self._whole),
            Optimizer(RULES[str(task.rule)], Schedule(RATE)),
        )
        segment_inputs = device_workers.host(self._workers)
        segment_inputs.rows[:STEPS] = draw.integers(0, EXAMPLES, segment_inputs.rows[:STEPS].shape)
        segment_inputs.factors[:STEPS] = 0.0
        optimizer.tabulate(np.arange(1, STEPS + 1)[:, None], np.zeros((STEPS, 1)), segment_inputs.factors[:STEPS])
        segment_inputs.limits[:] = [STEPS] * count + [0] * (self._workers - count)
        start, moments = learner.initial(seed), np.zeros((optimizer.moment_rows, learner.size), learner.dtype)
        there = np.empty((count, 1, learner.size), learner.dtype)
        device_workers.set_replica(start[np.newaxis])
        for slot in range(count):
            device_workers.set_worker(slot, None, moments)
        device_workers.start(range(count), zero_moments=False)
        device_workers.run(STEPS, [True] * self._workers)
        for slot in range(count):
            device_workers.get_worker(slot, there[slot], None)
        losses, tolerance = device_workers.finish().loss, TOLERANCES[learner.dtype.itemsize]
        read = data.reader(task.batch, learner.layout.sizes[-1], learner.dtype)
        for slot in range(count):
            here = start.copy()
            batches = (Batch(*read(segment_inputs.rows[step, slot]), 0.0) for step in range(STEPS))
            learner.run(TrainState(here, moments.copy(), 0, np.empty_like(here)), optimizer, batches)
            yield "parameters", there[slot, 0], here, start, tolerance
            yield "losses", losses[slot], np.array(learner.read_loss()), 0.0, tolerance
        if not self._whole:
            yield from self._combined(device_workers, data, *there[:, 0])

    def _combined(self, device_workers: CudaWorkers, data: Dataset, *contributions: np.ndarray) -> Iterator[_Found]:
        learner, weights = self._learner, np.array([0.3, 0.7], self._learner.dtype)
        replica, table = np.empty((1, learner.size), learner.dtype), np.empty((1, 2))
        device_workers.connect([device_workers.share()], 0)
        device_workers.reduce(weights)
        device_workers.get_replica(replica)
        device_workers.score("test", [slice(0, EXAMPLES)], table)
        device_workers.wait()
        first, second = (weight * vector for weight, vector in zip(weights, contributions, strict=True))
        yield "averages", replica[0], first + second, 0.0, 0.0
        read = data.reader(EXAMPLES, learner.layout.sizes[-1], learner.dtype)
        loss, _ = learner.score(replica[0], *read(slice(0, EXAMPLES)))
        yield "scores", table[0, 0], np.array(loss), 0.0, TOLERANCES[learner.dtype.itemsize]


def _some_data(task: DeviceTask, learner: MLP, draw: np.random.Generator) -> Dataset:
    """Draw EXAMPLES examples with the learner's numbers of inputs and outputs, stored as the job's are."""
    features, outputs = learner.layout.sizes[0], learner.layout.sizes[-1]
    if task.inputs.dtype == np.uint8:
        inputs, scale = draw.integers(0, 256, (EXAMPLES, features)).astype(np.uint8), 1 / 255
    else:
        inputs, scale = draw.normal(size=(EXAMPLES, features)).astype(learner.dtype), 1.0
    if task.labels is None:
        return Dataset(inputs, draw.normal(size=(EXAMPLES, outputs)), 0, scale)
    classes = max(2, outputs)
    return Dataset(inputs, draw.integers(0, classes, EXAMPLES), classes, scale)
