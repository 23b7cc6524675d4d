"""The kernels of network.cu agree with the formulas in float64, and nothing depends on the order of their threads."""

import math
from dataclasses import dataclass

import numpy as np
import pytest
from pretend.launching import KINDS, RaceError, ints, launch
from pretend.marks import needs_compiler

from psgd.backends.backend import Outputs
from psgd.backends.cuda import programs
from psgd.backends.cuda.device import Program
from psgd.backends.numpy.activations import ACTIVATIONS
from psgd.core.blocks import blocks, squared_norm
from psgd.learners.loss_head import LossHead
from psgd.learners.losses import LOSSES, Loss, huber
from psgd.optimizers.optimizer import Optimizer
from psgd.optimizers.rules import SGD
from psgd.optimizers.schedule import Schedule

pytestmark = needs_compiler

HUBER_THRESHOLD = 0.8
HEADS: dict[str, tuple[int, Loss, tuple[str, ...]]] = {
    "squared-error": (0, LOSSES["squared-error"], tuple(KINDS)),
    "cross-entropy": (1, LOSSES["cross-entropy"], ("softmax",)),
    "binary-cross-entropy": (2, LOSSES["binary-cross-entropy"], ("sigmoid",)),
    "hinge": (3, LOSSES["hinge"], ("identity", "tanh")),
    "huber": (4, huber(HUBER_THRESHOLD), tuple(KINDS)),
}
PAIRS = [(loss, output) for loss, (*_, outputs) in HEADS.items() for output in outputs]
THREADS, SHARED = (256,), 2048  # what the sums over a block take


@dataclass(frozen=True)
class Reals:
    """A kind of numbers, the program for it, and how exact exp, log and tanh are in it."""

    dtype: np.dtype
    program: Program
    tolerance: float


@pytest.fixture(params=["float32", "float64"])
def reals(request):
    dtype = np.dtype(request.param)
    inputs = np.dtype("uint8") if dtype == np.float32 else dtype
    return Reals(
        dtype, programs.make_program(["exact", "network"], dtype, inputs), 1e-6 if dtype == np.float32 else 1e-14
    )


def near(a: np.ndarray, b: np.ndarray, tolerance: float) -> bool:
    return bool(np.all(np.abs(a - b) <= tolerance * np.maximum(1.0, np.abs(b))))


def reference(loss: str, output: str, Z_BO: np.ndarray, T_BO: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(activations (B, O), deltas dL/dZ (B, O), losses (B,)) in float64, by what the CPU computes for each example."""
    _, function, _ = HEADS[loss]
    As, Ds, losses = [], [], []
    for z, t in zip(Z_BO.astype(np.float64), T_BO.astype(np.float64), strict=True):
        Z, A, D = z[:, None].copy(), z[:, None].copy(), np.empty((len(z), 1))
        forward, backward = ACTIVATIONS[output].actions(Z, A, D)
        for call in forward:
            call()
        head = LossHead(function, output)
        if head.is_difference:
            np.subtract(A, t[:, None], D)
        head.add(Outputs(A, D, Z if head.is_canonical else A), t[:, None])
        if not head.is_canonical:
            for call in backward:
                call()
        As.append(A[:, 0])
        Ds.append(D[:, 0])
        losses.append(head.read())
    return np.array(As), np.array(Ds), np.array(losses)


def targets_of(draw: np.random.Generator, loss: str, N: int, O: int) -> np.ndarray:  # noqa: E741
    if loss in ("squared-error", "huber"):
        return draw.normal(size=(N, O))
    if O == 1:
        return draw.integers(0, 2, (N, 1)).astype(float)
    return np.eye(O)[draw.integers(0, O, N)]


@pytest.mark.parametrize("O", [1, 10, 45])
@pytest.mark.parametrize(("loss", "output"), PAIRS)
def test_every_loss_with_every_output(reals, loss, output, O):  # noqa: E741
    """Deltas and losses, for mean gradients and for steps that descend. The middle worker takes no step: its deltas are
    0, its losses stay, and its rows are nonsense. Gaps after each line stay."""
    draw, dtype, N, B, W, steps, now = np.random.default_rng(3), reals.dtype, 20, 6, 3, 2, 1
    line, lined = O + 3, O + 2
    T, Z = targets_of(draw, loss, N, O).astype(dtype), draw.normal(scale=3.0, size=(W, B, line)).astype(dtype)
    rows, factors = draw.integers(0, N, (steps, W, B)).astype(np.int32), draw.random((steps, W, 4)).astype(dtype)
    rows[now, 1] = 2**31 - 1
    for descends in (0, 1):
        D, losses = np.full((W, B, lined), 7.0, dtype), draw.random((W, B))
        before = losses.copy()
        number = HEADS[loss][0]
        launch(
            *(reals.program, "output", (-(-B // 4), W), (128,), Z, D, None, T, rows, ints(now), ints(2, 1, 3), factors),
            *(B, O, line, lined, KINDS[output], number, HUBER_THRESHOLD, descends, losses),
        )
        assert np.all(D[..., O:] == 7.0)
        assert D[1, :, :O].tobytes() == bytes(D[1, :, :O].nbytes)
        assert np.array_equal(losses[1], before[1])
        for w in (0, 2):
            _, deltas, lost = reference(loss, output, Z[w, :, :O], T[rows[now, w]])
            share = -float(factors[now, w, 0]) / B if descends else 1 / B
            assert near(D[w, :, :O] / share, deltas, 4 * reals.tolerance)
            assert near(losses[w] - before[w], lost, O * reals.tolerance)


@pytest.mark.parametrize(("loss", "output", "O"), [("cross-entropy", "softmax", 40), ("hinge", "tanh", 1)])
def test_classes_are_what_their_one_hot_targets_are(reals, loss, output, O):  # noqa: E741
    draw, dtype, N, B = np.random.default_rng(4), reals.dtype, 30, 9
    labels = draw.integers(0, max(O, 2), N).astype(np.int32)
    T = np.eye(O, dtype=dtype)[labels] if O > 1 else labels[:, None].astype(dtype)
    Z, rows, results = draw.normal(size=(B, O)).astype(dtype), draw.integers(0, N, (1, 1, B)).astype(np.int32), []
    for given in ((labels, None), (None, T)):
        D, losses = np.full((B, O), np.nan, dtype), np.zeros(B)
        launch(
            *(reals.program, "output", (3, 1), (128,), Z, D, *given, rows, ints(0), ints(1), np.zeros(4, dtype)),
            *(B, O, O, O, KINDS[output], HEADS[loss][0], 1.0, 0, losses),
        )
        results.append((D.tobytes(), losses.tobytes()))
    assert results[0] == results[1]


@pytest.mark.parametrize(
    ("loss", "output", "O"), [("cross-entropy", "softmax", 3), ("binary-cross-entropy", "sigmoid", 1)]
)
def test_losses_of_large_logits_are_finite_and_nan_is_not_hidden(reals, loss, output, O):  # noqa: E741
    """The true class's probability rounds to 0, but its logarithm is known."""
    Z = np.zeros((2, O), reals.dtype)
    Z[0, 0], Z[1, 0] = 3000.0, np.nan
    D, losses = np.zeros((2, O), reals.dtype), np.zeros(2)
    labels = ints(1, 1) if O > 1 else ints(0, 0)
    launch(
        *(reals.program, "output", (1, 1), (128,), Z, D, labels, None, ints(0, 1), ints(0), ints(1)),
        *(np.zeros(4, reals.dtype), 2, O, O, O, KINDS[output], HEADS[loss][0], 1.0, 0, losses),
    )
    assert losses[0] == 3000.0
    assert D[0, 0] == 0.5
    assert np.isnan(losses[1])
    assert np.isnan(D[1, 0])


@pytest.mark.parametrize("loss", ["squared-error", "huber"])
def test_nan_is_not_hidden_by_a_loss_of_activations(reals, loss):
    D, losses, zero = np.zeros(1, reals.dtype), np.zeros(1), np.zeros(1, reals.dtype)
    Z = np.array([np.nan], reals.dtype)
    launch(
        *(reals.program, "output", (1, 1), (128,), Z, D, None, zero, ints(0), ints(0), ints(1)),
        *(np.zeros(4, reals.dtype), 1, 1, 1, 1, 0, HEADS[loss][0], 1.0, 0, losses),
    )
    assert np.isnan(losses[0])
    assert np.isnan(D[0])


@pytest.mark.parametrize("kind", ["identity", "relu", "sigmoid", "tanh"])
def test_activations(reals, kind):
    """Also of huge logits. The column of ones after each line stays."""
    B, O, W, line = 7, 13, 2, 16  # noqa: E741
    A = np.random.default_rng(5).normal(scale=4.0, size=(W, B, line)).astype(reals.dtype)
    A[0, 0, :5] = 1e4, -1e4, 0.0, np.inf, np.nan
    Z = A[..., :O].astype(np.float64)
    want, gaps = np.empty_like(Z), A[..., O:].copy()
    for w in range(W):
        each = Z[w].copy()
        with np.errstate(over="ignore"):
            for call in ACTIVATIONS[kind].actions(Z[w], each, np.empty_like(each))[0]:
                call()
        want[w] = each if kind != "identity" else Z[w]
    launch(reals.program, "activate", (2, W), (32,), A, KINDS[kind], B, O, line)
    assert A[..., O:].tobytes() == gaps.tobytes()
    assert np.array_equal(np.isnan(A[..., :O]), np.isnan(want))
    if kind in ("identity", "relu"):
        assert np.array_equal(A[..., :O], want, equal_nan=True)
    else:
        assert np.nanmax(np.abs(A[..., :O] - want)) <= reals.tolerance


@pytest.mark.parametrize("size", [5, 100_000])
def test_gradients_are_clipped_as_the_optimizer_clips_them(reals, size):
    """Each worker's by itself: one within the norm, one beyond, one with nan."""
    W, parts, gs = 3, 4, size + 3
    g = np.random.default_rng(6).normal(size=(W, gs)).astype(reals.dtype)
    g[0] *= 1e-3
    g[2, size // 2] = np.nan
    g[:, size:] = np.inf  # behind the vector
    optimizer = Optimizer(SGD(), Schedule(0.1), clip_norm=1.5)
    partial, clip = np.full((W, parts), np.nan), np.full(W, 9.0, reals.dtype)
    launch(reals.program, "squares", (parts, W), THREADS, g, gs, size, parts, partial, shared=SHARED)
    launch(reals.program, "clip_factor", (1, W), THREADS, partial, parts, 1.5, clip, shared=SHARED)
    want = [optimizer.clip(sum(squared_norm(each[where]) for where in blocks(0, size))) for each in g]
    assert clip[0] == want[0] == 1.0
    assert clip[1] == pytest.approx(want[1], rel=float(np.finfo(reals.dtype).eps))
    assert want[1] < 1.0
    assert np.isnan(clip[2])


def test_the_loss_of_a_segment(reals):
    losses, out = np.random.default_rng(7).normal(size=(3, 1000)), np.full(3, np.nan)
    launch(reals.program, "total", (1, 3), THREADS, losses, 1000, out, shared=SHARED)
    assert out == pytest.approx([math.fsum(each) for each in losses], rel=1e-14)


@pytest.mark.parametrize("O", [1, 40])
@pytest.mark.parametrize(("loss", "output"), PAIRS)
def test_scores(reals, loss, output, O):  # noqa: E741
    """The sum of losses, and how many are right: as a learner finds them, ties and all."""
    draw, N, B, line = np.random.default_rng(8), 25, 8, O + 1
    T = targets_of(draw, loss, N, O).astype(reals.dtype)
    rows = draw.permutation(N)[:21].astype(np.int32)  # in chunks of 8, 8 and 5
    Z = (draw.integers(-8, 9, (len(rows), line)) / 4).astype(reals.dtype)
    half, out = HEADS[loss][1].threshold, np.full((3, 2), np.nan)
    A, _, lost = reference(loss, output, Z[:, :O], T[rows])
    launch(
        *(reals.program, "score", (1, 3), THREADS, Z, None, T, rows, len(rows), B, O, line, KINDS[output]),
        *(HEADS[loss][0], HUBER_THRESHOLD, half, out),
        shared=SHARED,
    )
    right = np.argmax(A, axis=1) == np.argmax(T[rows], axis=1) if O > 1 else ((half < A) == (T[rows] > 0.5))[:, 0]
    for number, chunk in enumerate((slice(0, 8), slice(8, 16), slice(16, 21))):
        assert out[number, 0] == pytest.approx(lost[chunk].sum(), rel=20 * reals.tolerance)
        assert out[number, 1] == np.count_nonzero(right[chunk])


def test_a_missing_barrier_is_found():
    """Each barrier of the sum over a block is needed: without it, some order of the threads changes two sums that
    follow each other."""
    common = programs.make_program([], np.dtype(np.float64), np.dtype(np.float64)).text
    before, rest = common.split("double block_sum(", 1)
    body = rest[: rest.index("\n}\n") + 3]
    barriers, text = body.count("__syncthreads();"), before.removesuffix("__device__ inline ")
    assert barriers == 3
    for missing in range(barriers + 1):  # the last one is as it should be
        parts = body.split("__syncthreads();")
        kept = "".join(
            part + ("__syncthreads();" if n not in (missing, barriers) else "") for n, part in enumerate(parts)
        )
        text += f"""
__device__ inline double block_sum_{missing}({kept}
KERNEL two_sums_{missing}(const double* x, double* out) {{
  SHARED(double, sums);
  const double a = block_sum_{missing}(sums, x[threadIdx.x]);
  out[threadIdx.x] = a + block_sum_{missing}(sums, 2 * a + x[threadIdx.x]);
}}
"""
    program = programs.parse(text, {"REAL": "double", "INPUT": "double"})
    x, out = np.random.default_rng(9).normal(size=64), np.zeros(64)
    for missing in range(barriers):
        with pytest.raises(RaceError):
            launch(program, f"two_sums_{missing}", (1,), (64,), x, out, shared=512)
    launch(program, f"two_sums_{barriers}", (1,), (64,), x, out, shared=512)
    assert out == pytest.approx(np.full(64, 130 * x.sum()), rel=1e-12)
