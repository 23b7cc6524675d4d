"""Combinations on pretended GPUs: with the bits of the host's tree reduction and applications, however the workers and
the parameters are divided between processes.

Shapes: C rows of a contribution, P parameters.
"""

from collections.abc import Sequence

import numpy as np
import pytest
from pretend.device import Pretend
from pretend.marks import needs_compiler
from pretend.memory import bytes_needed
from pretend.trainings import FLOAT32, FLOAT64, RULES, Case

from psgd.backends.cuda.buffers import EXPORT_BYTES, shared_layout
from psgd.backends.cuda.cuda_workers import CudaWorkers
from psgd.backends.device_workers import DeviceTask, ReplicaStep
from psgd.core.blocks import squared_norm
from psgd.core.replica import Progress, Replica
from psgd.group.tree_reduce import TreeReducer
from psgd.optimizers.optimizer import Optimizer
from psgd.optimizers.schedule import Schedule
from psgd.strategy.applications import GradientStep

pytestmark = needs_compiler

WORKERS = 5
DIVISIONS = ([5], [2, 3], [1, 2, 2])  # workers of each process
WEIGHTS = ([0.2, 0.1, 0.3, 0.15, 0.25], [0.0, 0.4, 0.0, 0.0, 0.6], [0.0, 0.0, 0.0, 0.0, 1.0], [0.5, 0.0, 0.5, 0.0, 0.0])
dtypes = pytest.mark.parametrize("dtype", [FLOAT32, FLOAT64], ids=str)


class Party:
    """The processes of a job, each with a device."""

    def __init__(self, task: DeviceTask, hosted: Sequence[int], order: int = 0) -> None:
        self.task, self._slots = task, [(process, slot) for process, n in enumerate(hosted) for slot in range(n)]
        self.processes = [CudaWorkers(Pretend(order), task, whole=False) for _ in hosted]
        self.host(hosted)

    def host(self, hosted: Sequence[int]) -> None:
        for process, workers in zip(self.processes, hosted, strict=True):
            process.host(workers)
        rows = [process.share() for process in self.processes]
        assert len({len(row) for row in rows}) == 1
        for place, process in enumerate(self.processes):
            process.connect(rows, place)

    def start(self, replica: np.ndarray) -> None:
        for process in self.processes:
            process.set_replica(replica)
            process.wait()

    def combine(self, contributions: np.ndarray, weights: np.ndarray, factors: np.ndarray | None = None) -> np.ndarray:
        """The replica (1 + rows, P), which is the same everywhere."""
        none = np.empty((self.task.moment_rows, contributions.shape[2]), contributions.dtype)
        for contribution, (process, slot) in zip(contributions, self._slots, strict=True):
            self.processes[process].set_worker(slot, contribution, none)
        self._wait()
        for process in self.processes:
            process.reduce(weights)
        self._wait()
        for process in self.processes if factors is not None else ():
            process.apply(factors)
        return self.replica()

    def replica(self) -> np.ndarray:
        shape = 1 + self.task.state_rows, self.task.network.layout.size
        found = [np.empty(shape, self.task.network.dtype) for _ in self.processes]
        for process, vectors in zip(self.processes, found, strict=True):
            process.get_replica(vectors)
        self._wait()
        assert len({vectors.tobytes() for vectors in found}) == 1
        return found[0]

    def _wait(self) -> None:
        for process in self.processes:
            process.wait()


def averaging(dtype: np.dtype, rows: int) -> DeviceTask:
    """The next replica is the sum of contributions with so many rows."""
    return Case(rule="adam" if rows == 3 else "sgd", averages=rows == 3, dtype=dtype).task()


def stepping(dtype: np.dtype, rule: str, clip: float | None = None) -> DeviceTask:
    """The replica takes a step of this rule."""
    task = Case(rule=None, dtype=dtype).task()
    return task._replace(replica_step=ReplicaStep(rule, clip), state_rows=RULES[rule].moment_rows)


def some(task: DeviceTask, workers: int, seed: int, weights: np.ndarray) -> np.ndarray:
    """Contributions, of which those without a weight are nan."""
    draw = np.random.default_rng(seed)
    shape = workers, task.contribution_rows, task.network.layout.size
    found = (draw.normal(size=shape) * 10.0 ** draw.integers(-3, 3, shape)).astype(task.network.dtype)
    found[weights == 0] = np.nan
    return found


def by_tree(contributions: np.ndarray, weights: np.ndarray) -> np.ndarray:
    given = tuple((worker, 0) for worker, weight in enumerate(weights) if weight)

    def load(number: int, where: slice, out: np.ndarray) -> None:
        worker = given[number][0]
        np.multiply(contributions[worker][:, where], weights[worker], out)

    _, rows, size = contributions.shape
    return TreeReducer(rows, size, contributions.dtype).reduce(given, load, slice(0, size)).copy()


@dtypes
@pytest.mark.parametrize("rows", [1, 3])
@pytest.mark.parametrize("hosted", DIVISIONS, ids=str)
def test_each_process_sums_its_part_with_the_bits_of_the_tree(hosted, rows, dtype):
    party = Party(task := averaging(dtype, rows), hosted)
    for seed, chosen in enumerate(WEIGHTS):
        weights = np.array(chosen, dtype)
        contributions = some(task, WORKERS, seed, weights)
        assert party.combine(contributions, weights).tobytes() == by_tree(contributions, weights).tobytes()


@pytest.mark.parametrize("workers", [1, 2])
def test_few_workers(workers):
    """The kernel for every number of workers up to 17 is in test_cuda_kernels.py."""
    weights = np.random.default_rng(3).random(workers).astype(FLOAT32)
    party = Party(task := averaging(FLOAT32, 1), [workers])
    contributions = some(task, workers, 1, weights)
    assert party.combine(contributions, weights).tobytes() == by_tree(contributions, weights).tobytes()


@dtypes
@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize(("hosted", "order"), [([5], 0), ([2, 3], 1), ([1, 2, 2], 5)], ids=str)
def test_the_replicas_step_has_the_bits_of_the_hosts(hosted, order, rule, dtype):
    assert not differences(rule, dtype, hosted, order, None).any()


@dtypes
@pytest.mark.parametrize("rule", RULES)
def test_a_clipped_step_agrees_with_the_hosts(rule, dtype):
    """The squares of the norm are added in another order."""
    found = differences(rule, dtype, [2, 3], 0, 0.3)
    assert np.linalg.norm(found) < (1e-6 if dtype == FLOAT32 else 1e-13)


def differences(rule: str, dtype: np.dtype, hosted: list[int], order: int, clip: float | None) -> np.ndarray:
    """Between device and host after three combinations: parameters and state."""
    task, optimizer = stepping(dtype, rule, clip), Optimizer(RULES[rule], Schedule(0.1), clip)
    draw = np.random.default_rng(4)
    replica = Replica(draw.normal(size=(1 + task.state_rows, task.network.layout.size)).astype(dtype))
    replica.state[:] = 0.0
    before = replica.vectors.copy()
    party = Party(task, hosted, order)
    party.start(replica.vectors.copy())
    weights = np.array(WEIGHTS[0], dtype)
    for steps in range(3):
        replica.progress = Progress(steps=steps)
        contributions = draw.normal(size=(WORKERS, 1, task.network.layout.size)).astype(dtype)
        reduced = by_tree(contributions, weights)
        squares = squared_norm(reduced[0])
        assert clip in (None, 1e9) or squares > clip**2
        apply = GradientStep(optimizer).begin(replica, replica, 0.0, squares)
        apply(reduced, slice(0, reduced.shape[1]))
        given = optimizer.factors(steps + 1, 0.0)
        factors = np.array([*given, *[0.0] * (4 - len(given))])
        found = party.combine(contributions, weights, factors)
    assert (found[0] != before[0]).all()
    return found.astype(np.float64) - replica.vectors


def test_a_gradient_that_is_short_enough_is_not_clipped():
    assert not differences("momentum", FLOAT64, [5], 0, 1e9).any()


@pytest.mark.parametrize("order", [1, 5])
def test_the_order_of_threads_changes_no_bit_of_a_clipped_step(order):
    want, got = (differences("adam", FLOAT32, [2, 3], each, 0.3) for each in (0, order))
    assert got.tobytes() == want.tobytes()


def test_orders_that_were_not_waited_for_are_kept():
    """Two combinations are queued, and only then waited for: the second's weights and factors lie in the same memory of
    the host."""
    task = stepping(FLOAT64, "sgd")
    party, weights = Party(task, [5]), np.array(WEIGHTS[0])
    party.start(np.zeros((1, task.network.layout.size)))
    contributions = some(task, WORKERS, 0, weights)
    party.combine(contributions, weights, np.array([0.25, 0, 0, 0]))
    (process,) = party.processes
    for scale, rate in (2.0, 1.0), (3.0, 0.5):
        process.reduce(scale * weights)
        process.apply(np.array([rate, 0.0, 0.0, 0.0]))
    want = -by_tree(contributions, weights) * (0.25 + 2.0 + 1.5)
    np.testing.assert_allclose(party.replica(), want, rtol=1e-12)


def test_processes_connect_again_when_they_host_anew():
    party = Party(task := averaging(FLOAT32, 1), [2, 3])
    weights = np.array(WEIGHTS[0], FLOAT32)
    contributions = some(task, WORKERS, 0, weights)
    want = party.combine(contributions, weights)
    party.host([2, 3])
    assert party.combine(contributions, weights).tobytes() == want.tobytes()


def test_a_part_of_the_parameters_is_read():
    party = Party(task := averaging(FLOAT32, 1), [5])
    party.start(np.arange(task.network.layout.size, dtype=FLOAT32)[None])
    part = party.processes[0].get_parameters(slice(90, 97))
    party.processes[0].wait()
    assert part.tolist() == list(range(90, 97))


@pytest.mark.parametrize("task", [averaging(FLOAT32, 3), averaging(FLOAT64, 1), stepping(FLOAT32, "adam")])
def test_what_is_shared_lies_apart_and_is_counted(task):
    """The parts of the memory that others reach are aligned as allocations are, and do not overlap."""
    where, row = shared_layout(task, 4), task.network.layout.size * task.network.dtype.itemsize
    ends = where.replica + (1 + task.state_rows) * row, where.contributions + 4 * task.contribution_rows * row
    assert 0 == where.replica < ends[0] <= where.contributions < ends[1] <= where.reduced
    assert where.reduced + (row if task.replica_step else 0) <= where.size
    assert [each % 256 for each in (where.contributions, where.reduced)] == [0, 0]
    assert where.size % EXPORT_BYTES == 0
    device = Pretend()
    workers = CudaWorkers(device, task, whole=False)
    workers.host(4)
    assert device.used == bytes_needed(task, 4)
