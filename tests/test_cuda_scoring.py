"""Scores on the pretended device against psgd's learner with numpy."""

from dataclasses import replace

import numpy as np
import pytest
from pretend.device import Pretend
from pretend.marks import needs_compiler
from pretend.memory import bytes_needed
from pretend.trainings import EXAMPLES, FLOAT32, FLOAT64, Case
from test_cuda_steps import PAIRS

from psgd.backends.cuda import buffers
from psgd.backends.cuda.cuda_workers import CudaWorkers
from psgd.backends.device_workers import DeviceTask, Scored
from psgd.core.errors import UsageError
from psgd.data.dataset import Dataset
from psgd.learners.losses import LOSSES

pytestmark = needs_compiler

CHUNKS = [slice(0, 15), slice(15, 30), slice(30, EXAMPLES)]
dtypes = pytest.mark.parametrize("dtype", [FLOAT32, FLOAT64], ids=str)


def task_of(case: Case, **parts: Dataset) -> DeviceTask:
    """With these data to be scored."""
    loss = LOSSES.get(case.loss)
    return case.task()._replace(
        threshold=loss.threshold if loss else 0.5,
        scored={
            name: Scored(
                data.inputs, *((data.targets.astype(np.int32), None) if data.classes else (None, data.targets))
            )
            for name, data in parts.items()
        },
    )


def parameters(case: Case) -> np.ndarray:
    return np.random.default_rng(6).normal(scale=0.7, size=(1, case.learner.size)).astype(case.dtype)


def by_numpy(case: Case, data: Dataset, replica: np.ndarray, chunks: list[slice]) -> np.ndarray:
    read = data.reader(EXAMPLES, case.sizes[-1], case.dtype)
    return np.array([case.learner.score(replica[0], *read(chunk)) for chunk in chunks])


def on_device(
    task: DeviceTask, replica: np.ndarray, chunks: list[slice], part: str = "test", order: int = 0
) -> np.ndarray:
    device = Pretend(order)
    device_workers, table = CudaWorkers(device, task, whole=False), np.full((len(chunks), 2), np.nan)
    device_workers.host(2)
    device_workers.set_replica(replica)
    device_workers.score(part, chunks, table)
    device_workers.wait()
    return table


def check(case: Case, data: Dataset | None = None, replica: np.ndarray | None = None) -> np.ndarray:
    data, replica = case.data if data is None else data, parameters(case) if replica is None else replica
    found = on_device(task_of(case, test=data), replica, CHUNKS)
    wanted = by_numpy(case, data, replica, CHUNKS)
    np.testing.assert_allclose(found[:, 0], wanted[:, 0], rtol=2e-6 if case.dtype == FLOAT32 else 1e-12)
    assert found[:, 1].tolist() == wanted[:, 1].tolist()
    return found


@dtypes
@pytest.mark.parametrize(("loss", "output"), PAIRS)
def test_every_loss_with_every_output(loss, output, dtype):
    found = check(Case(loss=loss, output=output, dtype=dtype))
    assert (found[:, 0] > 0).all()


@dtypes
@pytest.mark.parametrize(
    ("loss", "output"), [("binary-cross-entropy", "sigmoid"), ("hinge", "identity"), ("hinge", "tanh")]
)
def test_a_single_output_for_two_classes(loss, output, dtype):
    found = check(Case(sizes=(7, 4, 1), loss=loss, output=output, dtype=dtype, stored="f4"))
    assert 0 < found[:, 1].sum() < EXAMPLES


@pytest.mark.parametrize("stored", ["u1", "f2", "f8"])
def test_hidden_activations_and_inputs_as_they_are_stored(stored):
    for hidden in "relu", "sigmoid", "identity":
        check(Case(hidden=hidden, stored=stored))


def test_what_is_not_a_number_is_right_as_for_the_learner():
    case = Case(stored="f4")
    inputs = case.data.inputs.copy()
    inputs[[3, 17]] = np.nan
    found = check(case, replace(case.data, inputs=inputs))
    assert np.isnan(found[:2, 0]).all()
    assert np.isfinite(found[2, 0])
    everything = np.full((1, case.learner.size), np.nan, case.dtype)
    assert 0 < check(case, replica=everything)[:, 1].sum() < EXAMPLES  # the first class is right now and then


def test_some_chunks_at_a_time_and_some_of_the_chunks(monkeypatch):
    """Each process scores every so many chunks."""
    case = Case(dtype=FLOAT64)
    task, replica = task_of(case, test=case.data), parameters(case)
    chunks = [slice(start, min(start + 6, EXAMPLES)) for start in range(0, EXAMPLES, 6)][::2]
    wanted = on_device(task, replica, chunks)
    np.testing.assert_allclose(wanted, by_numpy(case, case.data, replica, chunks), rtol=1e-12)
    monkeypatch.setattr(buffers, "SCORED_EXAMPLES", 13)  # two chunks
    assert on_device(task, replica, chunks).tobytes() == wanted.tobytes()


def test_parts_of_other_sizes_and_kinds():
    """Validation data may be stored otherwise than those for training and testing."""
    case = Case(dtype=FLOAT64)
    few = replace(case.data.take(slice(0, 4)), inputs=case.data.inputs[:4].astype(np.float32))
    task, replica = task_of(case, validation=few, test=case.data), parameters(case)
    for part, data, chunks in ("validation", few, [slice(0, 4)]), ("test", case.data, CHUNKS):
        found = on_device(task, replica, chunks, part)
        np.testing.assert_allclose(found, by_numpy(case, data, replica, chunks), rtol=1e-12)


@pytest.mark.parametrize("order", [1, 5])
def test_the_order_of_threads_changes_no_bit(order):
    case = Case(hidden="relu")
    task, replica = task_of(case, test=case.data), parameters(case)
    assert (on_device(task, replica, CHUNKS, order=order) == on_device(task, replica, CHUNKS)).all()


def test_scores_are_taken_of_the_replica_as_it_is_then_and_without_tf32(monkeypatch):
    """Two calls are queued, the second after a change; products of scores are not rounded to TF32."""
    case, device = Case(), Pretend()
    task, tables, products = task_of(case, test=case.data), np.zeros((2, 3, 2)), []
    device_workers = CudaWorkers(device, task._replace(tf32=True), whole=False)
    device_workers.host(2)
    multiply = device.gemm
    monkeypatch.setattr(device, "gemm", lambda product: products.append(product.tf32) or multiply(product))
    replicas = [parameters(case) * np.float32(factor) for factor in (1, 2)]
    for replica, table in zip(replicas, tables, strict=True):
        device_workers.set_replica(replica)
        device_workers.score("test", CHUNKS, table)
    device_workers.wait()
    wanted = [by_numpy(case, case.data, replica, CHUNKS) for replica in replicas]
    np.testing.assert_allclose(tables, wanted, rtol=2e-6)
    assert products == [False] * 12  # of two and one chunk


def test_memory_is_counted_and_its_lack_said():
    case, device = Case(), Pretend()
    task = task_of(case, validation=case.data, test=case.data)
    device_workers = CudaWorkers(device, task, whole=False)
    device_workers.host(2)
    assert device.used == bytes_needed(task, 2)
    CudaWorkers(Pretend(memory=2000), case.task())
    with pytest.raises(UsageError, match=r"an array of .* does not fit on the .* free; lower"):
        CudaWorkers(Pretend(memory=2000), task)
