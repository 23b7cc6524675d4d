"""Compiled passes through a network have the bits of numpy's."""

import ctypes
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from jobs import NAMES, job, strategies, train
from learner_batches import some_batch

from psgd.backends import native
from psgd.backends.backend import Network, Passes
from psgd.backends.layer_plan import plan_layers
from psgd.backends.layout import Layout
from psgd.backends.numpy.activations import ACTIVATIONS
from psgd.backends.numpy.backend import NUMPY
from psgd.backends.numpy.network_passes import NumpyPasses
from psgd.group.threads import run_threads
from psgd.learners.layered_learner import WeightSettings
from psgd.learners.learner import TrainState
from psgd.learners.losses import LOSSES
from psgd.learners.mlp import MLP
from psgd.optimizers.optimizer import Optimizer
from psgd.optimizers.rules import SGD
from psgd.optimizers.schedule import Schedule

pytest.importorskip("numba")
from psgd.backends.numba import network_kernels as kernels
from psgd.backends.numba import network_passes
from psgd.backends.numba.backend import NumbaBackend
from psgd.backends.numba.network_passes import NumbaPasses

# Linear; small; of one output; with transposed products; with outputs by example; with a sum in two passes; deep.
SIZES = [(5, 3), (1, 1, 1), (7, 15, 1), (300, 20, 4), (800, 64, 3), (60, 40, 2), (9, 8, 7, 6, 5)]
BATCHES = [(1, np.float32), (1, np.float64), (10, np.float64), (40, np.float32), (600, np.float32)]


def passes(
    sizes: tuple[int, ...], hidden: str, output: str, dtype: Any, examples: int, canonical_loss: bool = True
) -> tuple[Passes, NumbaPasses]:
    network = Network(Layout(sizes), (hidden,) * (len(sizes) - 2) + (output,), np.dtype(dtype), canonical_loss)
    return NUMPY.passes(network), NumbaBackend(examples).passes(network)


def test_all_variants_are_covered():
    plans = [plan for sizes in SIZES for examples, _ in BATCHES for plan in plan_layers(Layout(sizes), examples)]
    assert {(plan.by_example, plan.transposes_product, plan.two_passes) for plan in plans} >= {
        *[(False, False, False), (True, False, False), (False, True, False), (False, False, True), (False, True, True)]
    }


def some(shape: Any, dtype: Any, odd: float = 0.0) -> np.ndarray:
    draw = np.random.default_rng(np.prod(shape))
    numbers = draw.normal(0.0, 0.5, shape).astype(dtype)
    numbers[draw.random(shape) < odd] = np.nan
    numbers[draw.random(shape) < odd] = -np.inf
    numbers[draw.random(shape) < odd] = -0.0
    numbers[draw.random(shape) < odd] *= np.array(1e30, dtype)
    return numbers


def results(of: Passes, P: np.ndarray, X_BI: np.ndarray, D_OB: np.ndarray) -> list[np.ndarray]:
    """Outputs, gradient, and the parameters after a step of each kind."""
    out = np.full_like(P, 7.0)
    with np.errstate(all="ignore"):
        outputs, deltas, logits = of.forward(P, X_BI)
        made = [outputs.copy(), logits.copy()]
        of.forward(P, X_BI, np.ascontiguousarray(D_OB.T))
        made.append(deltas.copy())
        deltas[:] = D_OB
        of.gradient(P, X_BI, out)
        made.append(out)
        for alpha, keep in ((-0.25, 1.0), (-0.125, 0.9)):
            stepped = P.copy()
            of.forward(P, X_BI)
            deltas[:] = D_OB
            of.descend(stepped, X_BI, alpha, keep)
            made.append(stepped)
    return made


@pytest.mark.parametrize("hidden", ["identity", "relu", "sigmoid", "tanh"])
@pytest.mark.parametrize(("examples", "dtype"), BATCHES)
@pytest.mark.parametrize("sizes", SIZES)
def test_the_kernels_have_numpys_bits(sizes, examples, dtype, hidden):
    """For ordinary numbers and for special ones, where a nan may have either sign."""
    if examples == 1 in sizes[1:]:  # numpy computes a product of two vectors without BLAS
        with pytest.raises(LookupError, match="batches of one example and layers of one unit"):
            passes(sizes, hidden, "sigmoid", dtype, examples)
        return
    plain, compiled = passes(sizes, hidden, "softmax" if sizes[-1] > 1 else "sigmoid", dtype, examples)
    for odd in (0.0, 0.01):
        P, X_BI = some(Layout(sizes).size, dtype), some((examples, sizes[0] + 1), dtype, odd)
        D_OB = some((sizes[-1], examples), dtype, odd)
        for ours, theirs in zip(results(compiled, P, X_BI, D_OB), results(plain, P, X_BI, D_OB), strict=True):
            assert np.array_equal(ours, theirs, equal_nan=True)
            assert not np.array_equal(ours, P)
            if not odd:
                assert ours.tobytes() == theirs.tobytes()


@pytest.mark.parametrize("canonical_loss", [True, False])
@pytest.mark.parametrize("output", ACTIVATIONS)
def test_every_output_activation_has_numpys_bits(output, canonical_loss):
    """Whether deltas are stored after the outputs or before them."""
    plain, compiled = passes((6, 5, 4), "tanh", output, np.float32, 10, canonical_loss)
    given = some(Layout((6, 5, 4)).size, np.float32), some((10, 7), np.float32), some((4, 10), np.float32)
    assert [m.tobytes() for m in results(compiled, *given)] == [m.tobytes() for m in results(plain, *given)]


def test_other_batch_sizes_are_left_to_numpy(monkeypatch):
    """Batch sizes alternate, which is what evaluations do."""
    plain, compiled = passes((6, 5, 4), "relu", "identity", np.float32, 10)
    called: list[str] = []
    for name in ("forward", "gradient", "descend"):
        real = getattr(kernels, name)
        monkeypatch.setattr(kernels, name, lambda *given, name=name, real=real: called.append(name) or real(*given))
    for examples in (10, 3, 10, 7, 3):
        given = (
            some(Layout((6, 5, 4)).size, np.float32),
            some((examples, 7), np.float32),
            some((4, examples), np.float32),
        )
        called.clear()
        assert [m.tobytes() for m in results(compiled, *given)] == [m.tobytes() for m in results(plain, *given)]
        assert set(called) == ({"forward", "gradient", "descend"} if examples == 10 else set())


def test_a_batch_with_gaps_between_its_examples():
    plain, compiled = passes((6, 5, 4), "sigmoid", "identity", np.float32, 10)
    X_BI = some((10, 20), np.float32)[:, :7]
    given = some(Layout((6, 5, 4)).size, np.float32), X_BI, some((4, 10), np.float32)
    assert [m.tobytes() for m in results(compiled, *given)] == [m.tobytes() for m in results(plain, *given)]


@pytest.mark.parametrize("wrong", ["forward", "gradient", "descend"])
def test_kernels_with_other_bits_are_refused(monkeypatch, wrong):
    """The results differ, which they would if numpy's BLAS called another routine."""
    real = getattr(kernels, wrong)

    def other(P: np.ndarray, *others: Any) -> None:
        real(P, *others)
        if wrong == "forward":
            buffers[0].A_OB[0, 0] += np.float32(1e-6)
        else:
            (others[2] if wrong == "gradient" else P)[-1] += np.float32(1e-6)

    network = Network(Layout((6, 5, 4)), ("relu", "identity"), np.dtype(np.float32), True)
    backend, buffers = NumbaBackend(10), []
    monkeypatch.setattr(NUMPY.__class__, "passes", lambda self, network: remember(buffers, NumpyPasses(network)))
    monkeypatch.setattr(kernels, wrong, other)
    with pytest.raises(LookupError, match="other bits"):
        backend.passes(network)
    monkeypatch.setattr(kernels, wrong, real)
    backend.passes(network)


def remember(buffers: list[Any], plain: NumpyPasses) -> NumpyPasses:
    buffers[:] = [plain.buffers(10).last]
    return plain


def test_unknown_activations_and_libraries_are_refused(monkeypatch):
    def make(*activations: str) -> MLP:
        return MLP((6, 5, 4), *activations, LOSSES["squared-error"], np.float32, backend=NumbaBackend(10))

    make("relu", "softmax")
    with pytest.raises(LookupError, match="hidden layers of softmax"):
        make("softmax", "softmax")
    with monkeypatch.context() as changed:
        changed.setattr(native, "_NAMES", ("no_{}",))  # as with a BLAS that names its routines differently
        with pytest.raises(LookupError, match="no routine gemm"):
            make("relu", "softmax")
    with monkeypatch.context() as changed:
        changed.setattr(native, "_Ufunc", type("Other", (native._Ufunc,), {"nin": 7}))  # as with another numpy
        with pytest.raises(LookupError, match="inner loops"):
            make("relu", "softmax")


def test_kernels_are_compared_with_numpy_once(monkeypatch):
    network = Network(Layout((6, 5, 4)), ("relu", "identity"), np.dtype(np.float32), True)
    backend = NumbaBackend(10)
    backend.passes(network)
    monkeypatch.setattr(network_passes, "_results", lambda *_: pytest.fail("compared again"))
    backend.passes(network)


@pytest.mark.parametrize(("l1", "l2"), [(0.0, 0.0), (0.0, 0.1), (0.05, 0.0)])
@pytest.mark.parametrize(
    ("loss", "output"),
    [
        *(("squared-error", "identity"), ("squared-error", "sigmoid"), ("hinge", "identity"), ("hinge", "sigmoid")),
        *(("cross-entropy", "softmax"), ("binary-cross-entropy", "sigmoid")),
    ],
)
def test_a_compiled_learner_has_the_same_bits(loss, output, l1, l2):
    outcomes = []
    for backend in (NUMPY, NumbaBackend(8)):
        learner = MLP(
            (6, 5, 3), "sigmoid", output, LOSSES[loss], np.float32, WeightSettings(l1=l1, l2=l2), backend=backend
        )
        batches = [some_batch(6, 3, examples, loss == "cross-entropy", seed=examples) for examples in (8, 8, 5)]
        batches = [
            batch._replace(X=batch.X.astype(np.float32), T_BO=batch.T_BO.astype(np.float32)) for batch in batches
        ]
        p, gradient = learner.initial(0), np.empty(learner.size, np.float32)
        learner.run(TrainState(p, np.empty((0, p.size)), 0, gradient), Optimizer(SGD(), Schedule(0.5)), batches)
        learner.gradient(p, batches[0], gradient)
        outcomes.append((p.tobytes(), gradient.tobytes(), learner.read_loss()))
    assert outcomes[0] == outcomes[1]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("threads", [1, 2])
def test_compiled_training_has_the_same_bits(name, threads):
    def trained(compiled: bool) -> set[str]:
        def one(transport: Any) -> str:
            here = job(strategies(4)[name], 4)
            if compiled:
                learner = MLP(
                    (5, 7, 3), "tanh", "softmax", LOSSES["cross-entropy"], here.learner.dtype, backend=NumbaBackend(6)
                )
                assert learner.network == here.learner.network
                here = replace(here, learner=learner)
            return train(here, transport)[0]

        return set(run_threads(threads, 60.0, one))

    assert trained(True) == trained(False)


def test_numpys_own_routines_are_found():
    numbers, wanted = np.linspace(-2, 2, 7), np.tanh(np.linspace(-2, 2, 7))
    address, data = native.ufunc_loop(np.tanh, numbers.dtype)
    both, steps = (ctypes.c_void_p * 2)(*[numbers.ctypes.data] * 2), (ctypes.c_ssize_t * 2)(8, 8)
    count = ctypes.c_ssize_t(7)
    ctypes.CFUNCTYPE(None, *[ctypes.c_void_p] * 4)(address)(both, ctypes.byref(count), steps, data)
    assert numbers.tobytes() == wanted.tobytes()
    with pytest.raises(LookupError, match="add"):
        native.ufunc_loop(np.add, numbers.dtype)
    with pytest.raises(LookupError, match="gemx"):
        native.numpy_blas("gemx", np.dtype(np.float32))
