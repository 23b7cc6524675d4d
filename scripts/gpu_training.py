"""The networks of record on a device, for gpu_check and bench_gpu: the same start, batches and optimizer as their
rivals'.

Shapes: W workers, S steps, B examples of a step, P parameters, R rows of moments.
"""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from statistics import median
from typing import Any

import numpy as np
from bench_step import flat, stored
from networks import NETWORKS, Network
from rivals import initial_weights

from psgd.backends.cuda.cuda_workers import CudaWorkers
from psgd.backends.cuda.device import Device
from psgd.backends.cuda.resident import LaunchConfig, fits
from psgd.backends.device_workers import DeviceTask
from psgd.data.dataset import Dataset
from psgd.learners.learner import Batch, TrainState
from psgd.learners.losses import LOSSES
from psgd.learners.mlp import MLP
from psgd.optimizers.optimizer import Optimizer
from psgd.optimizers.rules import SGD, Adam, Rule
from psgd.optimizers.schedule import Schedule

READY_BYTES = 512 << 20  # of batches that wait in the GPU's memory: a pass takes a while beside its beginning and end
WIDE = Network((784, 4096, 4096, 10), "relu", "softmax", "cross-entropy", 4096, "sgd", 0.1)
ON_GPU = {**NETWORKS, "wide": WIDE}
REPETITIONS, SECONDS = 5, 0.2  # of each measurement: the median of so many, each at least so long
RULES: dict[str, Rule] = {"sgd": SGD(), "momentum": SGD(0.9), "adam": Adam()}
FLOAT32, FLOAT64 = np.dtype(np.float32), np.dtype(np.float64)


@dataclass(frozen=True)
class Training:
    """A network that is trained from its initial weights, on the data of bench_step.py."""

    network: Network
    rule: str
    dtype: np.dtype = FLOAT32
    tf32: bool = False

    @cached_property
    def data(self) -> Dataset:
        data: Dataset = stored(self.network)
        return data

    @cached_property
    def learner(self) -> MLP:
        net = self.network
        return MLP(net.sizes, net.activation, net.output, LOSSES[net.loss], self.dtype)

    @cached_property
    def optimizer(self) -> Optimizer:
        """Its rate is the network's for its own rule; a tenth with momentum, whose steps are ten times as long."""
        rate = self.network.learning_rate
        if self.rule == "adam" or self.network.optimizer == "adam":
            rate = 0.001 if self.rule == "adam" else 0.1
        return Optimizer(RULES[self.rule], Schedule(rate / 10 if self.rule == "momentum" else rate))

    @cached_property
    def start(self) -> np.ndarray:
        return flat(initial_weights(self.network)).astype(self.dtype)

    @property
    def task(self) -> DeviceTask:
        data, optimizer = self.data, self.optimizer
        return DeviceTask(
            network=self.learner.network,
            loss=self.network.loss,
            huber_threshold=1.0,
            l1=0.0,
            l2=0.0,
            rule=optimizer.rule.name,
            clip_norm=None,
            plain=optimizer.plain,
            batch=self.network.batch,
            inputs=data.inputs,
            labels=data.targets.astype(np.int32),
            targets=None,
            scale=data.scale,
            contribution_rows=1,
            moment_rows=optimizer.moment_rows,
            state_rows=0,
            averages_moments=False,
            tf32=self.tf32,
        )

    def rows(self, steps: int, kinds: int) -> np.ndarray:
        """(S, `kinds`, B): as many different streams of batches."""
        shape = steps, kinds, self.network.batch
        return np.random.default_rng(7).integers(0, len(self.data), shape).astype(np.int32)

    def by_numpy(self, rows_SB: np.ndarray) -> tuple[np.ndarray, float]:
        """One worker's steps on the CPU: its parameters then, and the sum of the losses."""
        learner, parameters = self.learner, self.start.copy()
        moments, scratch = (
            np.zeros((self.optimizer.moment_rows, parameters.size), self.dtype),
            np.empty_like(parameters),
        )
        read = self.data.reader(self.network.batch, self.network.sizes[-1], self.dtype)
        batches: Iterator[Batch] = (Batch(*read(rows), 0.0) for rows in rows_SB)
        with np.errstate(all="ignore"):
            learner.run(TrainState(parameters, moments, 0, scratch), self.optimizer, batches)
        return parameters, learner.read_loss()

    def on(self, device: Device, workers: int, whole: bool = False) -> "OnDevice":
        return OnDevice(self, device, workers, whole)

    def fits(self, device: Device, workers: int) -> LaunchConfig | None:
        """How the network is kept whole on the device, if it can be."""
        inputs = self.data.inputs.dtype
        return fits(self.task, device, inputs if inputs == np.uint8 else self.dtype, workers)


class OnDevice:
    """The same of several workers on a device, all from the same start. `whole`: in one launch a segment, if it fits;
    else by graphs."""

    def __init__(self, training: Training, device: Device, workers: int, whole: bool) -> None:
        self.training, self.workers = training, workers
        self.hosted = CudaWorkers(device, training.task, whole)
        self._orders = self.hosted.host(workers)
        self._orders.factors[:] = 0.0
        self.taken = 0  # steps
        self.connected = False
        moments = np.zeros((training.optimizer.moment_rows, training.start.size), training.dtype)
        for slot in range(workers):
            self.hosted.set_worker(slot, training.start[None], moments)
        self.hosted.wait()

    @property
    def most(self) -> int:
        """Steps of a segment."""
        return len(self._orders.rows)

    def train(self, rows_SWB: np.ndarray) -> np.ndarray:
        """A segment. Returns the sum of losses of each worker (W,)."""
        steps, orders = len(rows_SWB), self._orders
        orders.rows[:steps] = rows_SWB
        counts = self.taken + np.arange(1, steps + 1)[:, None]
        self.training.optimizer.tabulate(counts, np.zeros((steps, self.workers)), orders.factors[:steps])
        orders.limits[:] = steps
        self.hosted.run(steps, [True] * self.workers)
        self.taken += steps
        segment = self.hosted.finish()
        assert segment.first_nonfinite.tolist() == [-1] * self.workers, "parameters are not finite"
        return segment.loss

    def combine(self) -> None:
        """Average the parameters of all workers, and wait for that. `train` goes on from each worker's own."""
        if not self.connected:
            self.hosted.connect([self.hosted.share()], 0)
            self.connected = True
        self.hosted.reduce(np.full(self.workers, 1 / self.workers, self.training.dtype))
        self.hosted.wait()

    def parameters(self) -> np.ndarray:
        """(W, P)."""
        found = np.empty((self.workers, 1, self.training.start.size), self.training.dtype)
        for slot in range(self.workers):
            self.hosted.get_worker(slot, found[slot], None)
        self.hosted.wait()
        return found[:, 0]


def share(found: np.ndarray, wanted: np.ndarray, start: np.ndarray) -> float:
    """The distance of the parameters from those wanted, as a share of the distance moved."""
    found, wanted, start = (each.astype(np.float64) for each in (found, wanted, start))
    return float(np.linalg.norm(found - wanted) / np.linalg.norm(wanted - start))


class Counted:
    """A device that counts what it is asked for."""

    def __init__(self, device: Any) -> None:
        self._device = device
        self.counts = dict.fromkeys(("upload", "download", "synchronize", "empty", "capture", "launch", "gemm"), 0)

    def __getattr__(self, name: str) -> Any:
        if name not in self.counts:
            return getattr(self._device, name)

        def counted(*arguments: Any, **options: Any) -> Any:
            self.counts[name] += 1
            return getattr(self._device, name)(*arguments, **options)

        return counted


def timed(act: Callable[[], object], steps: int, repetitions: int = REPETITIONS, seconds: float = SECONDS) -> float:
    """Microseconds a step of what takes so many, and waits for them."""
    times = []
    for _ in range(repetitions):
        began, count = time.perf_counter(), 0
        while (took := time.perf_counter() - began) < seconds or not count:
            act()
            count += 1
        times.append(1e6 * took / (count * steps) if count else 0.0)
    return median(times)
