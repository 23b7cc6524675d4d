"""Segments in one launch: steps against those of psgd's learner by numpy, with the weights in shared memory."""

import dataclasses
import runpy
from pathlib import Path

import numpy as np
import pytest
from pretend.device import Pretend
from pretend.marks import needs_compiler, needs_nvrtc
from pretend.nvrtc import spills
from pretend.trainings import FLOAT32, FLOAT64, Case, Vectors, check, fill_segment_inputs, on_device, same_bytes, upload

from psgd.backends.cuda import cuda_workers
from psgd.backends.cuda.resident import LaunchConfig, fits

NETWORKS = runpy.run_path(str(Path(__file__).parent.parent / "scripts" / "networks.py"))["NETWORKS"]
BYTE = np.dtype(np.uint8)
TINY = Case(whole=True)
C = dataclasses.replace(
    TINY, sizes=(784, 16, 16, 10), hidden="sigmoid", output="sigmoid", loss="squared-error", batch=100
)
D = dataclasses.replace(TINY, sizes=(784, 30, 10), hidden="sigmoid", batch=10)
E = dataclasses.replace(
    TINY, sizes=(7, 15, 1), hidden="relu", output="sigmoid", loss="binary-cross-entropy", stored="f4", batch=150
)
KEPT_D = dataclasses.replace(D, rule="momentum", averages=True, workers=4)
ALONE_E = dataclasses.replace(E, workers=1, output="tanh", loss="hinge")
EXACT = dataclasses.replace(TINY, rule="amsgrad", dtype=FLOAT64)
OLD, SMALL = {"capability": (8, 0)}, {"processors": 8}  # no clusters; no room for clusters of eight


def of_record(name: str, rule: str = "sgd", dtype: np.dtype = FLOAT32) -> Case:
    """A network of scripts/networks.py."""
    network = NETWORKS[name]
    return Case(
        *(network.sizes, network.activation, network.output, network.loss, rule),
        dtype=dtype,
        batch=network.batch,
        workers=1,
    )


def plan(case: Case, workers: int = 1, **device: object) -> LaunchConfig | None:
    inputs = BYTE if case.stored == "u1" else case.dtype
    return fits(case.task(), Pretend(**device), inputs, workers)  # type: ignore[arg-type]


@needs_compiler
@pytest.mark.parametrize(
    ("case", "limits", "device"),
    [
        (C, [1, 0, 2], {}),
        (dataclasses.replace(C, rule="momentum", output="softmax", hidden="relu", workers=2), [2, 2], SMALL),
        (KEPT_D, [3, 4, 1, 2], {}),
        (dataclasses.replace(E, rule="nesterov"), [3, 2, 0], {}),
        (ALONE_E, [4], OLD),
        (EXACT, [5, 0, 6], {}),
        # No hidden layers; and more examples for a warp than it has lanes, more inputs than are asked for early.
        (dataclasses.replace(TINY, sizes=(7, 3), rule="adam"), None, {}),
        (dataclasses.replace(D, sizes=(32, 2), stored="f4", batch=530, workers=1), [2], OLD),
    ],
    ids=["C", "C4", "D", "E", "E1", "tiny", "linear", "large"],
)
def test_steps_are_the_learners(case: Case, limits: list[int] | None, device: dict[str, object]) -> None:
    found = plan(case, case.workers, **device)
    assert found is not None
    assert found.cluster == (1 if device is OLD else 4 if device is SMALL else 8)
    check(case, limits, Pretend(**device))  # type: ignore[arg-type]


@needs_compiler
@pytest.mark.parametrize(("case", "device"), [(KEPT_D, {}), (ALONE_E, OLD)], ids=["D", "E1"])
def test_threads_may_run_in_any_order(case: Case, device: dict[str, object]) -> None:
    limits = [2, 1, 0, 1][: case.workers]
    want = on_device(case, [limits], Pretend(0, **device))  # type: ignore[arg-type]
    for turn in 1, 5:
        same_bytes(on_device(case, [limits], Pretend(turn, **device)), want)  # type: ignore[arg-type]


@needs_compiler
@pytest.mark.parametrize(
    "barrier",
    ["    meet();\n\n    // 2.", "    __syncthreads();  // the inputs have been read\n"],
)
def test_a_barrier_that_is_missing_is_found(barrier: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def without(*arguments: object) -> LaunchConfig:
        found = fits(*arguments)  # type: ignore[arg-type]
        assert found is not None
        assert found.program.text.count(barrier) == 1
        text = found.program.text.replace(barrier, barrier.split(";", 1)[1])
        return found._replace(program=dataclasses.replace(found.program, text=text))

    # Warps differ in what they do between barriers: one has all tiles of sums, several have examples.
    case = dataclasses.replace(E, sizes=(40, 2, 1), hidden="tanh", batch=40, workers=1)
    monkeypatch.setattr(cuda_workers, "fits", without)
    results = [on_device(case, [[3]], Pretend(turn)).contributions.tobytes() for turn in (0, 1, 5)]
    assert len(set(results)) > 1


@needs_compiler
def test_a_worker_past_its_limit_and_segments_change_no_bit() -> None:
    case = EXACT
    uneven, whole = on_device(case, [[2, 0, 4]]), on_device(case, [[4, 4, 4]])
    for slot, limit in (0, 2), (2, 4):
        alone = on_device(case, [[limit if other == slot else 1 for other in range(3)]])
        for name in ("contributions", "moments", "loss"):
            assert getattr(uneven, name)[slot].tobytes() == getattr(alone, name)[slot].tobytes(), (name, slot)
    cut = on_device(case, [[1, 1, 1], [3, 3, 3]])
    np.testing.assert_allclose(cut.loss, whole.loss, rtol=1e-14)
    cut.loss = whole.loss
    same_bytes(cut, whole)


@needs_compiler
def test_a_segment_is_one_launch() -> None:
    device, launches = Pretend(), []
    for segments in [[6, 6, 6]], [[6, 6, 6], [6, 6, 6]]:
        before = device.launches
        on_device(EXACT, segments, device)
        launches.append(device.launches - before)
    assert launches[1] - launches[0] == 3 + 1 + 3  # what begins a segment, its steps, what ends it
    assert (device.captures, device.products) == (0, 0)


@needs_compiler
def test_what_is_not_finite_is_reported() -> None:
    case = EXACT
    device_workers, vectors = cuda_workers.CudaWorkers(Pretend(), case.task()._replace(scale=np.nan)), Vectors(case)
    segment_inputs = device_workers.host(3)
    upload(case, device_workers, vectors)
    device_workers.run(fill_segment_inputs(case, segment_inputs, 0, [1, 0, 2]), [True] * 3)
    segment = device_workers.finish()
    assert segment.first_nonfinite.tolist() == [0, -1, 0]
    assert np.isnan(segment.loss).tolist() == [True, False, True]


@pytest.mark.parametrize(
    ("case", "device", "cluster"),
    [
        *((of_record(name), {}, 8) for name in "CDE"),
        *((of_record(name, "adam", FLOAT64), {}, 8) for name in "CDE"),
        *((of_record(name), {}, None) for name in "AB"),
        (of_record("D"), OLD | {"shared_bytes": 163 << 10}, 1),
        (of_record("C"), OLD | {"shared_bytes": 163 << 10}, None),
        (of_record("E"), OLD | {"shared_bytes": 64 << 10}, 1),
        (of_record("E"), {"shared_bytes": 1 << 10}, None),
        (dataclasses.replace(of_record("A"), sizes=(784, 4096, 4096, 10)), {}, None),
        *((dataclasses.replace(of_record("D"), **no), {}, None) for no in ({"l1": 0.1}, {"l2": 0.1}, {"clip": 1.0})),
        (dataclasses.replace(of_record("D"), rule=None), {}, None),
    ],
)
def test_what_fits(case: Case, device: dict[str, object], cluster: int | None) -> None:
    found = plan(case, **device)
    assert (found and found.cluster) == cluster


@pytest.mark.parametrize(
    ("workers", "cluster"), [(1, 8), (16, 8), (17, 4), (33, 4), (34, 2), (66, 2), (132, 1), (500, 1)]
)
def test_many_workers_have_smaller_clusters(workers: int, cluster: int) -> None:
    found = plan(of_record("E"), workers)
    assert found
    assert found.cluster == cluster


@needs_nvrtc
@pytest.mark.parametrize(
    ("case", "architecture"),
    [
        (of_record("C"), 90),
        (of_record("C", "adam"), 100),
        (of_record("C", "amsgrad", FLOAT64), 90),
        (of_record("D", "adam"), 120),
        (of_record("D"), 80),
        (of_record("E", "adam"), 75),
        (dataclasses.replace(of_record("E", "adam", FLOAT64), stored="f8"), 90),
    ],
)
def test_no_registers_are_spilled(case: Case, architecture: int) -> None:
    found = plan(case, capability=divmod(architecture, 10))
    assert found
    assert found.cluster == (8 if architecture >= 90 else 1)
    assert spills(found.program, architecture) == {"resident": 0}
