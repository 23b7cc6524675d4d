"""Steps of workers on the pretended device against steps of psgd's learner by numpy."""

from typing import Any

import numpy as np
import pytest
from pretend.device import Pretend
from pretend.marks import needs_compiler
from pretend.memory import bytes_needed
from pretend.trainings import (
    BATCH,
    EXAMPLES,
    FLOAT32,
    FLOAT64,
    RULES,
    Case,
    Vectors,
    check,
    download,
    fill_segment_inputs,
    on_device,
    same_bytes,
    upload,
)

from psgd.backends.cuda import buffers
from psgd.backends.cuda.cuda_workers import UNROLL, CudaWorkers
from psgd.core.errors import UsageError

pytestmark = needs_compiler


@pytest.mark.parametrize("dtype", [FLOAT32, FLOAT64], ids=str)
@pytest.mark.parametrize("rule", RULES)
def test_every_rule_takes_the_learners_steps(rule: str, dtype: np.dtype) -> None:
    check(Case(rule=rule, dtype=dtype))


ANY_OUTPUT = ("identity", "sigmoid", "tanh", "softmax", "relu")
PAIRS = [
    *(("squared-error", output) for output in ANY_OUTPUT),
    *(("huber", output) for output in ANY_OUTPUT),
    ("binary-cross-entropy", "sigmoid"),
    ("cross-entropy", "softmax"),
    ("hinge", "identity"),
    ("hinge", "tanh"),
]


@pytest.mark.parametrize(("loss", "output"), PAIRS)
def test_every_loss_with_every_output(loss: str, output: str) -> None:
    check(Case(loss=loss, output=output, rule="momentum", dtype=FLOAT64))
    check(Case(loss=loss, output=output, rule="sgd", workers=1))


@pytest.mark.parametrize("dtype", [FLOAT32, FLOAT64], ids=str)
def test_a_single_output_for_two_classes(dtype: np.dtype) -> None:
    check(Case(sizes=(7, 1), output="sigmoid", loss="binary-cross-entropy", dtype=dtype))
    check(Case(sizes=(7, 4, 1), output="tanh", loss="hinge", rule="adam", dtype=dtype))


@pytest.mark.parametrize("hidden", ["identity", "relu", "sigmoid"])
@pytest.mark.parametrize("stored", ["u1", "f2", "f4", "f8"])
def test_hidden_activations_and_inputs_as_they_are_stored(hidden: str, stored: str) -> None:
    for dtype in FLOAT32, FLOAT64:
        check(Case(hidden=hidden, stored=stored, dtype=dtype))


SETTINGS: list[dict[str, Any]] = [{"l1": 0.02}, {"l2": 0.1}, {"clip": 0.2}, {"l1": 0.02, "l2": 0.1, "clip": 0.2}]


@pytest.mark.parametrize("workers", [1, 3])
@pytest.mark.parametrize("settings", SETTINGS, ids=str)
def test_penalties_and_clipping(settings: dict[str, Any], workers: int) -> None:
    for dtype in FLOAT32, FLOAT64:
        check(Case(rule="sgd", workers=workers, dtype=dtype, **settings))
        check(Case(rule="adam", workers=workers, dtype=dtype, **settings))


@pytest.mark.parametrize("penalties", [{}, {"l1": 0.02, "l2": 0.1}], ids=str)
@pytest.mark.parametrize("workers", [1, 3])
def test_gradients_at_the_replica(workers: int, penalties: dict[str, float]) -> None:
    for dtype in FLOAT32, FLOAT64:
        check(Case(rule=None, workers=workers, dtype=dtype, **penalties))


@pytest.mark.parametrize("rule", ["momentum", "amsgrad"])
def test_moments_in_the_contribution(rule: str) -> None:
    check(Case(rule=rule, averages=True))


VARIED = [Case(), Case(rule="adam", clip=0.2, l2=0.1), Case(rule="momentum", averages=True)]
varied = pytest.mark.parametrize("case", VARIED, ids=["plain", "clipped", "averaged"])


@varied
def test_a_worker_past_its_limit_is_as_after_a_shorter_segment(case: Case) -> None:
    limits = [2, 0, 6]
    check(case, limits)
    uneven = on_device(case, [limits])
    for slot, limit in enumerate(limits):
        alone = on_device(case, [[limit if other == slot else 1 for other in range(3)]]) if limit else Vectors(case)
        for name in ("contributions", "moments", "loss"):
            assert getattr(uneven, name)[slot].tobytes() == getattr(alone, name)[slot].tobytes(), (name, slot)


@varied
def test_segments_change_no_bit(case: Case) -> None:
    want = on_device(case, [[6] * 3])
    for segments in [[3] * 3, [3] * 3], [[1] * 3, [5] * 3]:
        got = on_device(case, segments)
        np.testing.assert_allclose(got.loss, want.loss, rtol=1e-14)  # sums of other groups
        got.loss = want.loss
        same_bytes(got, want)


@varied
def test_the_order_of_threads_changes_no_bit(case: Case) -> None:
    want = on_device(case, [[3, 1, 2]])
    for order_of_threads in 1, 5:
        same_bytes(on_device(case, [[3, 1, 2]], Pretend(order_of_threads)), want)


@varied
def test_graphs_change_no_bit(case: Case) -> None:
    limits, device, uncaptured = [2 * UNROLL + 3, 1, UNROLL], Pretend(), Pretend()
    uncaptured.capture = lambda queue: queue  # type: ignore[method-assign]
    same_bytes(on_device(case, [limits, [1, 1, 1]], device), on_device(case, [limits, [1, 1, 1]], uncaptured))
    assert (device.captures, device.replays) == (2, 2 + 3 + 1)


def test_a_segment_is_waited_for_once_and_comes_back_in_one_copy() -> None:
    case, device = Case(rule="adam", clip=0.2), Pretend()
    device_workers = CudaWorkers(device, case.task(), whole=False)
    segment_inputs, vectors = device_workers.host(case.workers), Vectors(case)
    upload(case, device_workers, vectors)
    for first in 0, 6:
        steps = fill_segment_inputs(case, segment_inputs, first, [6, 6, 6])
        before = device.uploads, device.downloads, device.synchronizes
        device_workers.run(steps, [False] * 3)
        device_workers.finish()
        assert (device.uploads, device.downloads, device.synchronizes) == tuple(
            map(sum, zip(before, (3, 1, 1), strict=True))
        )


@pytest.mark.parametrize(("sizes", "terms"), [((5, 6, 4, 3), [8, 8, 5]), ((9, 2, 1), [10, 3])], ids=str)
def test_products_have_terms_in_multiples_of_eight(
    monkeypatch: pytest.MonkeyPatch, sizes: tuple[int, ...], terms: list[int]
) -> None:
    """Where as many weights follow; what is multiplied by the zeros is finite, or the steps were not the learner's."""
    case, device, products = Case(sizes=sizes, rule="adam"), Pretend(), []
    multiply = device.gemm
    monkeypatch.setattr(device, "gemm", lambda product: products.append(product.k) or multiply(product))
    device_workers = CudaWorkers(device, case.task(), whole=False)
    device_workers.host(case.workers)
    assert products[: len(terms)] == terms
    check(case)


def test_a_round_begins_at_the_replica() -> None:
    for case in Case(rule="momentum"), Case(rule="momentum", averages=True):
        device_workers, vectors = CudaWorkers(Pretend(), case.task(), whole=False), Vectors(case)
        draw = np.random.default_rng(5)
        state = draw.normal(size=(1 + case.task().state_rows, case.learner.size)).astype(case.dtype)
        vectors.contributions[:] = 3.0
        vectors.moments[:] = 4.0
        device_workers.host(case.workers)
        upload(case, device_workers, vectors)
        device_workers.set_replica(state)
        device_workers.start([0], zero_moments=False)
        device_workers.start([2], zero_moments=True)
        vectors.contributions[[0, 2]] = state
        vectors.moments[2] = 0.0
        got = Vectors(case)
        download(case, device_workers, got)
        same_bytes(got, vectors)


def test_the_first_graphs_leave_vectors_as_they_are() -> None:
    case, device = Case(rule="adam", l1=0.02, clip=0.2), Pretend()
    device_workers, vectors, got = CudaWorkers(device, case.task(), whole=False), Vectors(case), Vectors(case)
    segment_inputs = device_workers.host(case.workers)
    vectors.moments[:] = 1.0
    upload(case, device_workers, vectors)
    buffers = device_workers._workspace.buffers  # what is in new memory may be taken for inputs
    ones, zeros = np.ones(buffers.limits_and_ending.shape, np.int32), np.zeros(buffers.rows.shape, np.int32)
    device.upload(ones, buffers.limits_and_ending)
    device.upload(zeros, buffers.rows)
    device.synchronize()
    steps = fill_segment_inputs(case, segment_inputs, 0, [1, 0, 0])
    segment_inputs.limits[:] = 0
    device_workers.run(steps, [False] * 3)
    assert device_workers.finish().loss.tolist() == [0.0] * 3
    download(case, device_workers, got)
    same_bytes(got, vectors)
    assert device.captures == 2


@pytest.mark.parametrize("averages", [False, True])
def test_what_is_not_finite_is_found(averages: bool) -> None:
    """Worker 0: a parameter too large; 1: an input; 2: the second moments, where its round ends."""
    case = Case(rule="adam", stored="f4", averages=averages)
    task, last = case.task(), case.learner.size - 1
    inputs = task.inputs.copy()
    inputs[6, 3] = np.nan
    device_workers = CudaWorkers(Pretend(), task._replace(inputs=inputs), whole=False)
    segment_inputs, vectors = device_workers.host(3), Vectors(case)
    vectors.contributions[0, 0, 5] = 1e25
    (vectors.contributions[:, 1:] if averages else vectors.moments)[2, 1, last] = np.inf
    upload(case, device_workers, vectors)
    for ends, of_moments in (False, -1), (True, last):
        steps = fill_segment_inputs(case, segment_inputs, 0, [1, 1, 1])
        segment_inputs.rows[0] = np.arange(3 * BATCH).reshape(3, BATCH)
        device_workers.run(steps, [False, False, ends])
        segment = device_workers.finish()
        assert segment.first_nonfinite.tolist() == [5, 0, of_moments]
        assert np.isfinite(segment.loss).tolist() == [True, False, True]


def test_other_numbers_of_workers_can_be_hosted_without_taking_more_memory() -> None:
    case, one = (Case(rule="momentum", clip=0.2, workers=workers) for workers in (3, 1))
    device = Pretend(memory=bytes_needed(case.task(), 3))
    device_workers = CudaWorkers(device, case.task(), whole=False)
    for each in (case, one, case):
        segment_inputs, vectors = device_workers.host(each.workers), Vectors(each)
        assert device.used == bytes_needed(case.task(), each.workers)
        upload(each, device_workers, vectors)
        device_workers.run(fill_segment_inputs(each, segment_inputs, 0, [2] * each.workers), [True] * each.workers)
        vectors.loss = device_workers.finish().loss
        download(each, device_workers, vectors)
        same_bytes(vectors, on_device(each, [[2] * each.workers]))


def test_data_are_copied_in_pieces_and_no_memory_is_an_error_with_sizes(monkeypatch: pytest.MonkeyPatch) -> None:
    case = Case(stored="f8", loss="squared-error", output="identity")
    want = on_device(case, [[2] * 3])
    monkeypatch.setattr(buffers, "PIECE_BYTES", 100)
    device = Pretend()
    same_bytes(on_device(case, [[2] * 3], device), want)
    assert device.uploads > EXAMPLES // 3
    with pytest.raises(UsageError, match=r"an array of .* does not fit on the .* free; lower"):
        CudaWorkers(Pretend(memory=100), case.task(), whole=False)
    with pytest.raises(UsageError, match=r"an array of .* does not fit on the .* free; lower"):
        CudaWorkers(Pretend(memory=100_000), case.task(), whole=False).host(2)
