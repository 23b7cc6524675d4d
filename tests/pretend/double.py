"""A device whose steps are the learner's own, so that a job on it must have the bits of the same job without it.

Like a device it only queues work until it is waited for, and its memory is undefined at first: what is read too early,
or written to an array that was handed over, shows.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from types import SimpleNamespace
from typing import Any
from weakref import WeakValueDictionary

import numpy as np

from psgd.backends.device_workers import Segment, SegmentInputs
from psgd.core.blocks import squared_norm
from psgd.group.tree_reduce import TreeReducer
from psgd.learners.learner import Batch, TrainState
from psgd.optimizers.optimizer import Optimizer
from psgd.optimizers.rules import SGD
from psgd.strategy.applications import GradientStep
from psgd.training.device_replica import can_combine
from psgd.training.job import Job
from psgd.training.replica_holder import CHUNK_EXAMPLES

FACTORS = {"sgd": 1, "momentum": 2, "nesterov": 3, "adam": 4, "amsgrad": 4}


def on_double(job: Job, capacity: int = 1000, opened: list["Double"] | None = None, combines: bool = False) -> Job:
    """The same job on a device whose segments have at most `capacity` steps. `opened` receives each device. `combines`:
    combinations are made on it."""
    device = Double(job, capacity)
    if opened is not None:
        opened.append(device)
    return replace(job, device=device, combines_on_devices=combines and can_combine(job.strategy))


@dataclass(frozen=True)
class _Given:
    """A rule whose factors in step number n are those of row n - 1."""

    name: str
    rows: int
    table: np.ndarray

    def factors(self, count: int, rate: float) -> tuple[float, ...]:
        return tuple(self.table[count - 1, : FACTORS[self.name]].tolist())


class Double:
    name = "a double"
    everyone: WeakValueDictionary[int, "Double"] = WeakValueDictionary()  # by id

    def __init__(self, job: Job, capacity: int) -> None:
        self.everyone[id(self)] = self
        self.calls: list[str] = []
        self._job, self._capacity = job, capacity
        local = job.strategy.local
        self._optimizer, self._optimizer_state = local.optimizer, local.optimizer_state
        self._read = job.data.train.reader(job.batch, job.outputs, job.learner.dtype)
        self._queue: list[Callable[[], None]] = []
        self._replica = self._undefined(1 + job.strategy.needs.state_rows)
        self._gradient = np.empty(job.learner.size, job.learner.dtype)
        self._reduced = self._undefined(job.strategy.needs.contribution_rows)

    def host(self, workers: int) -> SegmentInputs:
        assert workers > 0
        assert not self._queue
        self.calls.append("host")
        needs = self._job.strategy.needs
        self._contributions = [self._undefined(needs.contribution_rows) for _ in range(workers)]
        self._moments = [self._undefined(needs.moment_rows) for _ in range(workers)]
        self._replica[:] = np.nan
        self._segment_inputs = SegmentInputs(
            np.full((self._capacity, workers, self._job.batch), -1, np.int32),
            np.full((self._capacity, workers, 4), np.nan),
            np.full(workers, -1, np.int32),
        )
        self._segment = Segment(np.zeros(workers), np.full(workers, -1))
        return self._segment_inputs

    def set_replica(self, vectors: np.ndarray) -> None:
        assert "host" in self.calls
        self.calls.append("set_replica")
        self._upload(vectors, self._replica)

    def set_worker(self, slot: int, contribution: np.ndarray | None, moments: np.ndarray) -> None:
        self.calls.append("set_worker")
        if contribution is not None:
            self._upload(contribution, self._contributions[slot])
        self._upload(moments, self._moments[slot])

    def get_worker(self, slot: int, contribution: np.ndarray | None, moments: np.ndarray | None) -> None:
        self.calls.append("get_worker")
        for to, source in (contribution, self._contributions[slot]), (moments, self._moments[slot]):
            if to is not None:
                self._queue.append(lambda to=to, source=source: np.copyto(to, source))

    def start(self, slots: Sequence[int], zero_moments: bool) -> None:
        assert self._optimizer
        self._queue.append(lambda: self._start(slots, zero_moments))

    def run(self, steps: int, ends: Sequence[bool]) -> None:
        assert 0 < steps == self._segment_inputs.limits.max() <= self._capacity
        assert not any(end for end, limit in zip(ends, self._segment_inputs.limits, strict=True) if not limit)
        for order in self._segment_inputs:
            self._upload(order, np.empty_like(order))
        self._queue.append(lambda: self._run(ends))

    def share(self) -> bytes:
        return id(self).to_bytes(8)

    def connect(self, rows: Sequence[bytes], place: int) -> None:
        self._peers = [self.everyone[int.from_bytes(row)] for row in rows]
        assert self._peers[place] is self
        cuts = np.linspace(0, self._job.learner.size, len(rows) + 1).astype(int)
        self._own = slice(*cuts[place : place + 2].tolist())

    def reduce(self, weights: np.ndarray) -> None:
        self.calls.append("reduce")
        given = np.full(self._job.workers, np.nan, self._job.learner.dtype)
        self._upload(weights, given)
        self._queue.append(lambda: self._reduce(given))

    def apply(self, factors: Sequence[float]) -> None:
        self.calls.append("apply")
        self._queue.append(lambda: self._apply(factors))

    def get_replica(self, vectors: np.ndarray) -> None:
        self.calls.append("get_replica")
        self._queue.append(lambda: np.copyto(vectors, self._replica))

    def get_parameters(self, part: slice) -> np.ndarray:
        parameters = np.full(part.stop - part.start, np.nan, self._job.learner.dtype)
        self._queue.append(lambda: np.copyto(parameters, self._replica[0, part]))
        return parameters

    def score(self, part: str, rows: Sequence[slice], table: np.ndarray) -> None:
        self.calls.append("score")
        read = self._job.data.scored[part].reader(CHUNK_EXAMPLES, self._job.outputs, self._job.learner.dtype)

        def act() -> None:
            for number, chunk in enumerate(rows):
                table[number] = self._job.learner.score(self._replica[0], *read(chunk))

        self._queue.append(act)

    def finish(self) -> Segment:
        self.calls.append("finish")
        self._work()
        return self._segment

    def wait(self) -> None:
        self.calls.append("wait")
        self._work()

    def _undefined(self, rows: int) -> np.ndarray:
        return np.full((rows, self._job.learner.size), np.nan, self._job.learner.dtype)

    def _upload(self, host: np.ndarray, to: np.ndarray) -> None:
        assert (host.shape, host.dtype) == (to.shape, to.dtype)
        assert host.flags.c_contiguous
        given = host.tobytes()

        def act() -> None:
            assert host.tobytes() == given, "it was changed before it was copied"
            to[:] = host

        self._queue.append(act)

    def _work(self) -> None:
        for act in self._queue:
            act()
        self._queue.clear()

    def _reduce(self, weights: np.ndarray) -> None:
        """Sum this process's part of all contributions, as Group.combine does."""
        contributions = [each for peer in self._peers for each in peer._contributions]
        assert len(contributions) == self._job.workers
        given = tuple((worker, 0) for worker, weight in enumerate(weights) if weight)

        def load(number: int, where: slice, out: np.ndarray) -> None:
            worker = given[number][0]
            np.multiply(contributions[worker][:, where], weights[worker], out)

        reducer = TreeReducer(len(self._reduced), self._job.learner.size, self._reduced.dtype)
        found = reducer.reduce(given, load, self._own)
        for peer in self._peers:
            to = peer._reduced if isinstance(self._job.strategy.application, GradientStep) else peer._replica
            to[:, self._own] = found

    def _apply(self, factors: Sequence[float]) -> None:
        application = self._job.strategy.application
        assert isinstance(application, GradientStep)
        optimizer, gradient = application.optimizer, self._reduced[0]
        if (factor := optimizer.clip(squared_norm(gradient))) != 1.0:
            gradient *= factor
        p, state = self._replica[0], self._replica[1:]
        optimizer.update(p, gradient, state, tuple(factors), p, state)

    def _start(self, slots: Sequence[int], zero_moments: bool) -> None:
        for slot in slots:
            self._contributions[slot][:] = self._replica[: len(self._contributions[slot])]
            if zero_moments:
                self._moments[slot][:] = 0.0

    def _run(self, ends: Sequence[bool]) -> None:
        for slot, limit in enumerate(self._segment_inputs.limits.tolist()):
            if limit:
                self._descend(slot, limit)
            elif not self._optimizer:
                self._contributions[slot][:] = np.nan
            vectors = [self._contributions[slot][0]]
            if ends[slot]:
                vectors += [*self._moments[slot], *self._contributions[slot][1:]]
            bad = [np.flatnonzero(~np.isfinite(vector)) for vector in vectors]
            self._segment.first_nonfinite[slot] = next((int(found[0]) for found in bad if found.size), -1)

    def _descend(self, slot: int, limit: int) -> None:
        job, contribution, factors = self._job, self._contributions[slot], self._segment_inputs.factors[:limit, slot]
        batches = (Batch(*self._read(rows), rate) for rows, rate in self._batches(slot, limit))
        if not self._optimizer:
            for batch in batches:
                job.learner.gradient(self._replica[0], batch, contribution[0])
        else:
            rule: Any = SGD() if self._optimizer.plain else _Given(*self._rule, factors)
            schedule: Any = SimpleNamespace(rate=lambda epoch: epoch)  # the batch's epoch is the rate of its step
            optimizer = Optimizer(rule, schedule, self._optimizer.clip_norm, self._optimizer.backend)
            moments = contribution[1:] if self._optimizer_state == "average" else self._moments[slot]
            job.learner.run(TrainState(contribution[0], moments, 0, self._gradient), optimizer, batches)
        self._segment.loss[slot] = job.learner.read_loss()

    @property
    def _rule(self) -> tuple[str, int]:
        assert self._optimizer
        return self._optimizer.rule.name, self._optimizer.moment_rows

    def _batches(self, slot: int, limit: int) -> list[tuple[np.ndarray, float]]:
        rows, factors, _ = self._segment_inputs
        return list(zip(rows[:limit, slot], factors[:limit, slot, 0].tolist(), strict=True))
