"""Every strategy on a pretended GPU, through the real loop: where it ends on the CPU, to a tolerance, and with the same
bits however it is run."""

import json
from pipes import Fault, run_pipes

import numpy as np
import pytest
from jobs import NAMES, job, loop_of, strategies, train
from pretend.jobs import on_pretend, task_of
from pretend.marks import needs_compiler
from pretend.memory import bytes_needed
from processes import Mpi, mpi, run
from resuming import stopped_at
from short_segments import three_steps

from psgd.core.errors import Diverged, UsageError
from psgd.group.failure import Ended, exit_code
from psgd.group.serial import Serial
from psgd.group.threads import run_threads
from psgd.group.transport import Transport
from psgd.training.job import Job

__all__ = ["mpi", "three_steps"]  # fixtures

pytestmark = needs_compiler


def far_from(name: str, workers: int, epochs: float | None = None, whole: bool = False) -> tuple[float, tuple, tuple]:
    """The distance between the parameters on CPU and GPU, as a share of that which they have moved; and weights.

    Combinations on the GPU must have the same bits as those on the host."""
    one, other, combining = (job(strategies(workers)[name], workers, epochs) for _ in range(3))
    cpu, gpu = loop_of(one).run(), loop_of(on_pretend(other, whole=whole)).run()
    combined = loop_of(on_pretend(combining, whole=whole, combines=True)).run()
    assert gpu.progress._replace(last_weights=()) == cpu.progress._replace(last_weights=())
    assert combined.progress == gpu.progress
    same_bits_unless_clipped(name, combined.parameters, gpu.parameters)
    moved = np.linalg.norm(cpu.parameters - one.learner.initial(one.seed))
    assert moved > 0
    share = np.linalg.norm(cpu.parameters - gpu.parameters) / moved
    return float(share), cpu.progress.last_weights, gpu.progress.last_weights


def same_bits_unless_clipped(name: str, found: np.ndarray, wanted: np.ndarray) -> None:
    """The squares of a clipped gradient's norm are added in another order."""
    if "clipped" in name:
        np.testing.assert_allclose(found, wanted, rtol=1e-5, atol=1e-7)
    else:
        assert found.tobytes() == wanted.tobytes()


@pytest.mark.parametrize("workers", [1, 2, 3, 4, 5])
@pytest.mark.parametrize("name", NAMES)
def test_every_strategy_agrees_with_the_cpu(name, workers):
    """Speeds are unequal in weighted averaging, and so are the numbers of steps."""
    share, cpu_weights, gpu_weights = far_from(name, workers)
    assert share < 1e-4
    assert gpu_weights == cpu_weights


def test_segments_in_one_launch_agree_with_the_cpu():
    assert far_from("weighted-averaging, adam reset, outer momentum", 4, whole=True)[0] < 1e-4


@pytest.mark.parametrize("combines", [False, True])
@pytest.mark.parametrize("name", NAMES)
def test_threads_of_a_block_may_run_in_any_order(name, combines):
    found = {
        train(on_pretend(job(strategies(3)[name], 3), order, combines=combines), Serial())[0] for order in (0, 1, 5)
    }
    assert len(found) == 1


@pytest.mark.parametrize("name", NAMES)
def test_resuming_in_the_middle_of_a_round_changes_no_bit(name, tmp_path, three_steps):
    def make() -> Job:
        return on_pretend(job(strategies(4)[name], 4))

    expected = train(make(), Serial())
    for exchange in (1, 2, 3):
        if stopped_at(make(), exchange, tmp_path / str(exchange), Serial()):
            assert train(make(), Serial(), tmp_path / str(exchange)) == expected
    assert (tmp_path / "1" / "checkpoints").exists()


@pytest.mark.parametrize("name", NAMES)
def test_processes_combine_in_each_others_memory(name):
    """Two of them, of two workers each: every one reads and writes the memory of the other's device."""

    def main(transport):
        return loop_of(on_pretend(job(strategies(4)[name], 4), combines=True), transport=transport).run().parameters

    found = run_threads(2, 30.0, main)
    assert found[0].tobytes() == found[1].tobytes()
    alone = loop_of(on_pretend(job(strategies(4)[name], 4))).run()
    same_bits_unless_clipped(name, found[0], alone.parameters)


def test_processes_under_mpirun_combine_in_each_others_memory(mpi: Mpi):
    finished = run(mpi.command(2, "tests/mixed.py", "--combine"))
    assert finished.code == 0, finished
    hashes = json.loads(finished.stdout)
    for name in NAMES:
        alone = train(on_pretend(job(strategies(4)[name], 4)), Serial())[0]
        assert hashes[name] == alone or (hashes[name] and "clipped" in name)


def test_a_device_that_fails_for_ever_ends_all_processes_by_the_protocol():
    """Its failure is raised with the note that names it, and the others leave with its code."""
    ends: dict[int, Exception] = {}

    def main(transport):
        one = on_pretend(job(strategies(4)["gradient-averaging, adam"], 4), combines=True)
        if transport.process == 1:
            one = fails_after(one, 11)  # in a segment
        try:
            loop_of(one, transport=transport).run()
        except Exception as error:
            ends[transport.process] = error

    run_threads(2, 30.0, main)
    assert isinstance(ends[0], Ended), ends[0]
    assert str(ends[1]) == "an illegal address"
    assert "on cuda: pretended GPU, round" in ends[1].__notes__[0]


def fails_after(one: Job, waits: int) -> Job:
    """The same job, on a device that does as one with a kernel that went wrong: whoever waits for it learns so."""
    device = one.device._device  # type: ignore[union-attr]
    wait, left = device.synchronize, iter(range(waits))

    def synchronize() -> None:
        if next(left, None) is None:
            raise RuntimeError("an illegal address")
        wait()

    device.synchronize = synchronize
    return one


def train_with_little_room_on_process_1(transport: Transport) -> object:
    one = on_pretend(job(strategies(3)["parameter-averaging, sgd"], 3))
    if transport.process == 1:  # which takes on the workers of process 0
        one.device._device.memory = bytes_needed(task_of(one), 1)
    try:
        return loop_of(one, transport=transport).run().progress.round
    except (Ended, UsageError) as error:
        return exit_code(error), str(error)


def test_a_device_without_room_for_the_worker_of_a_lost_process_ends_all():
    outcome = run_pipes(3, train_with_little_room_on_process_1, [Fault(8, 0, "before")])
    assert outcome.lost == [0]
    assert outcome.results[1][0] == 2
    assert "does not fit" in outcome.results[1][1]
    assert outcome.results[2] == (2, "ended by another process")


@pytest.mark.parametrize("name", NAMES)
def test_processes_with_a_gpu_and_without_one_agree_on_the_replica(name):
    def main(transport):
        one = job(strategies(4)[name], 4)
        return train(one if transport.process == 1 else on_pretend(one), transport)

    found = run_threads(3, 30.0, main)
    assert found == [found[0]] * 3


def test_processes_under_mpirun_with_a_gpu_and_without_one_agree_on_the_replica(mpi: Mpi):
    finished = run(mpi.command(2, "tests/mixed.py"))
    assert finished.code == 0, finished
    hashes = json.loads(finished.stdout)
    assert list(hashes) == list(NAMES)
    assert all(hashes.values())


def poisoned(exclude: bool) -> Job:
    """The inputs of some examples are infinite: a worker that draws one is not finite in that round."""
    from dataclasses import replace

    one = job(strategies(4)["parameter-averaging, sgd"], 4, epochs=1.5)
    inputs = one.data.train.inputs.copy()
    inputs[7] = np.inf
    data = one.data._replace(train=replace(one.data.train, inputs=inputs))
    return replace(one, data=data, exclude_nonfinite=exclude)


def test_what_is_not_finite_is_named_as_on_the_cpu():
    said = []
    for one in (poisoned(exclude=False), on_pretend(poisoned(exclude=False))):
        with pytest.raises(Diverged) as caught:
            loop_of(one).run()
        said.append(str(caught.value))
    assert said[0] == said[1]
    assert "is not finite" in said[0]


def test_workers_that_are_not_finite_are_excluded_as_on_the_cpu():
    cpu, gpu = loop_of(poisoned(exclude=True)).run(), loop_of(on_pretend(poisoned(exclude=True))).run()
    assert gpu.progress == cpu.progress
    assert sum(cpu.progress.worker_steps) < sum(cpu.progress.dealt)
    assert np.linalg.norm(cpu.parameters - gpu.parameters) < 1e-4
