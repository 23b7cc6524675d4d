"""Small trainings of several workers, on the pretended device and by psgd's learner with numpy.

W workers, S steps of a segment, B examples of a step, C rows of a contribution, R of moments, P parameters.
"""

from dataclasses import dataclass
from functools import cache

import numpy as np

from pretend.device import Pretend
from psgd.backends.cuda.cuda_workers import CudaWorkers
from psgd.backends.device_workers import DeviceTask, SegmentInputs
from psgd.data.dataset import Dataset
from psgd.learners.layered_learner import WeightSettings
from psgd.learners.learner import Batch, TrainState
from psgd.learners.losses import LOSSES, huber
from psgd.learners.mlp import MLP
from psgd.optimizers.optimizer import Optimizer
from psgd.optimizers.rules import SGD, Adam, Rule
from psgd.optimizers.schedule import Schedule

FLOAT32, FLOAT64 = np.dtype(np.float32), np.dtype(np.float64)
EXAMPLES, BATCH, STEPS, THRESHOLD = 40, 5, 6, 0.4
RULES: dict[str, Rule] = {
    "sgd": SGD(),
    "momentum": SGD(0.9),
    "nesterov": SGD(0.9, nesterov=True),
    "adam": Adam(),
    "amsgrad": Adam(amsgrad=True),
}
RATES = {"sgd": 0.5, "momentum": 0.2, "nesterov": 0.2, "adam": 0.02, "amsgrad": 0.02}


@dataclass(frozen=True)
class Case:
    """A small training: what psgd is given, and what the device is given."""

    sizes: tuple[int, ...] = (7, 6, 5, 3)
    hidden: str = "tanh"
    output: str = "softmax"
    loss: str = "cross-entropy"
    rule: str | None = "sgd"  # None: gradients at the replica
    clip: float | None = None
    l1: float = 0.0
    l2: float = 0.0
    dtype: np.dtype = FLOAT32
    stored: str = "u1"  # dtype of the inputs
    averages: bool = False  # the moments are part of the contribution
    workers: int = 3
    batch: int = BATCH
    whole: bool = False  # a segment is one launch

    @property
    def data(self) -> Dataset:
        return some_data(self.sizes[0], self.sizes[-1], self.stored, self.loss in ("squared-error", "huber"))

    @property
    def learner(self) -> MLP:
        loss = huber(THRESHOLD) if self.loss == "huber" else LOSSES[self.loss]
        return MLP(self.sizes, self.hidden, self.output, loss, self.dtype, WeightSettings(l1=self.l1, l2=self.l2))

    @property
    def optimizer(self) -> Optimizer:
        """Its rate is the epoch of the batch, so that each step may have its own."""
        return Optimizer(RULES[self.rule or "sgd"], Schedule(1.0, warmup=1.0), self.clip)

    @property
    def moment_rows(self) -> int:
        return self.optimizer.moment_rows if self.rule else 0

    def task(self) -> DeviceTask:
        data, learner, rows = self.data, self.learner, self.moment_rows
        return DeviceTask(
            learner.network,
            self.loss,
            THRESHOLD,
            self.l1,
            self.l2,
            self.optimizer.rule.name if self.rule else None,
            self.clip,
            self.optimizer.plain,
            self.batch,
            data.inputs,
            data.targets.astype(np.int32) if data.classes else None,
            None if data.classes else data.targets,
            data.scale,
            contribution_rows=1 + rows * self.averages,
            moment_rows=0 if self.averages else rows,
            state_rows=rows * self.averages,
            averages_moments=self.averages,
        )

    def start(self) -> np.ndarray:
        """(W, P): each worker's first parameters; for gradients, all have the first's."""
        P = self.learner.size
        draw = np.random.default_rng(1).normal(scale=0.5, size=(self.workers, P)).astype(self.dtype)
        return draw if self.rule else np.repeat(draw[:1], self.workers, axis=0)

    def rows(self, steps: int) -> np.ndarray:
        return np.random.default_rng(2).integers(0, EXAMPLES, (steps, self.workers, self.batch)).astype(np.int32)

    def rate(self, step: int, slot: int) -> float:
        """Return the learning rate of step number `step`, counted from 0: each worker has its own."""
        return RATES[self.rule or "sgd"] / (1.0 + 0.1 * step + 0.3 * slot)


@cache
def some_data(features: int, outputs: int, stored: str, regression: bool) -> Dataset:
    draw = np.random.default_rng(0)
    if stored == "u1":
        inputs, scale = draw.integers(0, 256, (EXAMPLES, features)).astype(np.uint8), 1 / 255
    else:
        inputs, scale = draw.normal(size=(EXAMPLES, features)).astype(stored), 1.0
    if regression:
        return Dataset(inputs, draw.normal(size=(EXAMPLES, outputs)), 0, scale)
    classes = max(2, outputs)
    return Dataset(inputs, draw.integers(0, classes, EXAMPLES), classes, scale)


class Vectors:
    """What each worker has: contributions (W, C, P), moments (W, R, P), the losses' sums (W,)."""

    def __init__(self, case: Case) -> None:
        task, P = case.task(), case.learner.size
        self.contributions = np.zeros((case.workers, task.contribution_rows, P), case.dtype)
        self.contributions[:, 0] = case.start()
        self.moments = np.zeros((case.workers, task.moment_rows, P), case.dtype)
        self.loss = np.zeros(case.workers)


def by_numpy(case: Case, limits: list[int]) -> Vectors:
    """Every worker's steps, one after another, by Learner.run or Learner.gradient."""
    vectors, learner, data, rows = Vectors(case), case.learner, case.data, case.rows(max(limits))
    scratch = np.empty(learner.size, case.dtype)
    read = data.reader(case.batch, case.sizes[-1], case.dtype)
    for slot, limit in enumerate(limits):
        contribution = vectors.contributions[slot]
        moments = contribution[1:] if case.averages else vectors.moments[slot]
        batches = (Batch(*read(rows[step, slot]), case.rate(step, slot)) for step in range(limit))
        if case.rule:
            learner.run(TrainState(contribution[0], moments, 0, scratch), case.optimizer, batches)
        else:
            at = case.start()[slot]
            for batch in batches:
                learner.gradient(at, batch, contribution[0])
        vectors.loss[slot] = learner.read_loss()
    return vectors


def fill_segment_inputs(case: Case, segment_inputs: SegmentInputs, first: int, limits: list[int]) -> int:
    """Write a segment from the workers' step number `first` on. Returns its number of steps."""
    steps = max(limits)
    segment_inputs.rows[:steps] = case.rows(first + steps)[first:]
    for slot, limit in enumerate(limits):
        segment_inputs.rows[limit:, slot] = -1  # nobody must look there
        segment_inputs.factors[limit:, slot] = np.nan
        for step in range(limit if case.rule else 0):
            factors = case.optimizer.rule.factors(first + step + 1, case.rate(first + step, slot))
            segment_inputs.factors[step, slot, : len(factors)] = factors
    segment_inputs.limits[:] = limits
    return steps


def upload(case: Case, device_workers: CudaWorkers, vectors: Vectors) -> None:
    state = np.zeros((1 + case.task().state_rows, case.learner.size), case.dtype)
    state[0] = case.start()[0]
    device_workers.set_replica(state)
    for slot in range(case.workers):
        device_workers.set_worker(slot, vectors.contributions[slot], vectors.moments[slot])
    device_workers.wait()


def download(case: Case, device_workers: CudaWorkers, vectors: Vectors) -> None:
    for slot in range(case.workers):
        device_workers.get_worker(slot, vectors.contributions[slot], vectors.moments[slot])
    device_workers.wait()


def on_device(case: Case, segments: list[list[int]], device: Pretend | None = None) -> Vectors:
    """The same, in segments of so many steps of each worker."""
    device_workers, vectors = CudaWorkers(device or Pretend(), case.task(), case.whole), Vectors(case)
    segment_inputs = device_workers.host(case.workers)
    upload(case, device_workers, vectors)
    first = 0
    for limits in segments:
        steps = fill_segment_inputs(case, segment_inputs, first, limits)
        device_workers.run(steps, [True] * case.workers)
        segment = device_workers.finish()
        assert segment.first_nonfinite.tolist() == [-1] * case.workers
        vectors.loss += segment.loss
        first += steps
    download(case, device_workers, vectors)
    return vectors


def check(case: Case, limits: list[int] | None = None, device: Pretend | None = None) -> None:
    """Differences must be small beside the distance that each vector has moved."""
    limits = limits or [STEPS if case.rule else 1] * case.workers
    want, got, start = by_numpy(case, limits), on_device(case, [limits], device), Vectors(case)
    tolerance = 1e-4 if case.dtype == FLOAT32 else 1e-11
    for name in ("contributions", "moments"):
        for w, g, s in zip(*(getattr(each, name) for each in (want, got, start)), strict=True):
            for row in range(len(w)):
                assert np.linalg.norm(g[row] - w[row]) <= tolerance * np.linalg.norm(w[row] - s[row]), (name, row)
    np.testing.assert_allclose(got.loss, want.loss, rtol=1e-5 if case.dtype == FLOAT32 else 1e-12)


def same_bytes(one: Vectors, other: Vectors) -> None:
    for name in ("contributions", "moments", "loss"):
        assert getattr(one, name).tobytes() == getattr(other, name).tobytes(), name
