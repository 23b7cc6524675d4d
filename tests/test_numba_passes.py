"""The passes through a network that numba compiles: the bits of numpy's."""

import ctypes
from typing import Any

import numpy as np
import pytest
from jobs import NAMES, job, strategies, train
from test_learners import some_batch

from psgd.backends.layout import Layout
from psgd.backends.numba import native
from psgd.backends.numpy.activations import ACTIVATIONS
from psgd.backends.numpy.network_passes import NumpyPasses, Passes
from psgd.group.threads import run_threads
from psgd.learners.losses import LOSSES
from psgd.learners.mlp import MLP
from psgd.optimizers.optimizer import Optimizer
from psgd.optimizers.rules import SGD
from psgd.optimizers.schedule import Schedule

pytest.importorskip("numba")
from psgd.backends.numba import network_passes as compiled_module
from psgd.backends.numba.machine_code import kernels
from psgd.backends.numba.network_passes import CompiledPasses, Network

# Linear; small; of one output; with transposed products; with outputs by example; with a sum in two passes; deep.
SIZES = [(5, 3), (1, 1, 1), (7, 15, 1), (300, 20, 4), (800, 64, 3), (60, 40, 2), (9, 8, 7, 6, 5)]
BATCHES = [(1, np.float32), (1, np.float64), (10, np.float64), (600, np.float32)]


def passes(sizes: tuple[int, ...], hidden: str, output: str, dtype: Any, examples: int) -> tuple[Passes, Passes]:
    plain = NumpyPasses(Layout(sizes), [hidden] * (len(sizes) - 2) + [output], np.dtype(dtype))
    return plain, CompiledPasses(plain, examples, True)


def some(shape: Any, dtype: Any, odd: float = 0.0) -> np.ndarray:
    draw = np.random.default_rng(np.prod(shape))
    numbers = draw.normal(0.0, 0.5, shape).astype(dtype)
    numbers[draw.random(shape) < odd] = np.nan
    numbers[draw.random(shape) < odd] = -np.inf
    numbers[draw.random(shape) < odd] = -0.0
    numbers[draw.random(shape) < odd] *= np.array(1e30, dtype)
    return numbers


def results(of: Passes, P: np.ndarray, X_BI: np.ndarray, D_OB: np.ndarray) -> list[np.ndarray]:
    """What the passes make: outputs, gradient, and parameters after a step of each kind."""
    out = np.full_like(P, 7.0)
    with np.errstate(all="ignore"):
        room = of.forward(P, X_BI)
        made = [room.A_OB.copy()]
        room.D_OB[:] = D_OB
        of.gradient(P, X_BI, out)
        made.append(out)
        for alpha, keep in ((-0.25, 1.0), (-0.125, 0.9)):
            stepped = P.copy()
            of.forward(P, X_BI)
            room.D_OB[:] = D_OB
            of.descend(stepped, X_BI, alpha, keep)
            made.append(stepped)
    return made


@pytest.mark.parametrize("hidden", ["identity", "relu", "sigmoid", "tanh"])
@pytest.mark.parametrize(("examples", "dtype"), BATCHES)
@pytest.mark.parametrize("sizes", SIZES)
def test_the_kernels_have_numpys_bits(sizes, examples, dtype, hidden):
    """Of ordinary numbers and of odd ones, where what is no number may have any sign."""
    plain, compiled = passes(sizes, hidden, "softmax" if sizes[-1] > 1 else "sigmoid", dtype, examples)
    # A product of two vectors is numpy's own.
    assert isinstance(compiled._ways[examples], NumpyPasses if examples == 1 in sizes[1:] else Network)
    for odd in (0.0, 0.01):
        P, X_BI = some(Layout(sizes).size, dtype), some((examples, sizes[0] + 1), dtype, odd)
        D_OB = some((sizes[-1], examples), dtype, odd)
        for ours, theirs in zip(results(compiled, P, X_BI, D_OB), results(plain, P, X_BI, D_OB), strict=True):
            assert np.array_equal(ours, theirs, equal_nan=True)
            assert not np.array_equal(ours, P)
            if not odd:
                assert ours.tobytes() == theirs.tobytes()


@pytest.mark.parametrize("output", ACTIVATIONS)
def test_any_output(output):
    plain, compiled = passes((6, 5, 4), "tanh", output, np.float32, 10)
    assert isinstance(compiled._ways[10], Network)
    given = some(Layout((6, 5, 4)).size, np.float32), some((10, 7), np.float32), some((4, 10), np.float32)
    assert [m.tobytes() for m in results(compiled, *given)] == [m.tobytes() for m in results(plain, *given)]


def test_a_number_of_examples_not_met_before():
    """As an epoch's last batch has. Numbers of examples take turns."""
    plain, compiled = passes((6, 5, 4), "relu", "identity", np.float32, 10)
    for examples in (10, 3, 10, 7, 3):
        given = (
            some(Layout((6, 5, 4)).size, np.float32),
            some((examples, 7), np.float32),
            some((4, examples), np.float32),
        )
        ours, theirs = results(compiled, *given), results(plain, *given)
        assert isinstance(compiled._ways[examples], Network)
        assert [m.tobytes() for m in ours] == [m.tobytes() for m in theirs]


def test_a_batch_with_gaps_between_its_examples():
    plain, compiled = passes((6, 5, 4), "sigmoid", "identity", np.float32, 10)
    X_BI = some((10, 20), np.float32)[:, :7]
    given = some(Layout((6, 5, 4)).size, np.float32), X_BI, some((4, 10), np.float32)
    assert [m.tobytes() for m in results(compiled, *given)] == [m.tobytes() for m in results(plain, *given)]


@pytest.mark.parametrize("wrong", ["forward", "gradient", "descend"])
def test_what_has_other_bits_is_left_to_numpy(monkeypatch, wrong):
    """As where a BLAS calls another of its routines than numpy's is known to."""
    real = kernels(np.dtype(np.float32))

    def other(P: np.ndarray, *others: Any) -> None:
        real[wrong](P, *others)
        if wrong == "forward":
            room.A_OB[0, 0] += np.float32(1e-6)
        else:
            (others[2] if wrong == "gradient" else P)[-1] += np.float32(1e-6)

    plain = NumpyPasses(Layout((6, 5, 4)), ["relu", "identity"], np.dtype(np.float32))
    room = plain.rooms(10)[-1]
    monkeypatch.setattr(compiled_module, "kernels", lambda dtype: {**real, wrong: other})
    compiled = CompiledPasses(plain, 10, True)
    assert compiled._ways[10] is plain
    given = some(Layout((6, 5, 4)).size, np.float32), some((10, 7), np.float32), some((4, 10), np.float32)
    assert [m.tobytes() for m in results(compiled, *given)] == [m.tobytes() for m in results(plain, *given)]


def test_what_is_not_known_is_left_to_numpy(monkeypatch):
    def of(*activations: str) -> Passes:
        learner = MLP((6, 5, 4), *activations, LOSSES["squared-error"], np.float32)
        learner.compile(10, True)
        return learner._passes

    assert isinstance(of("relu", "softmax"), CompiledPasses)
    assert isinstance(of("softmax", "softmax"), NumpyPasses)
    with monkeypatch.context() as changed:
        changed.setattr(native, "_NAMES", ("no_{}",))  # as with a BLAS of other names
        assert isinstance(of("relu", "softmax"), NumpyPasses)
    with monkeypatch.context() as changed:
        changed.setattr(native, "_Ufunc", type("Other", (native._Ufunc,), {"nin": 7}))  # as with another numpy
        assert isinstance(of("relu", "softmax"), NumpyPasses)


@pytest.mark.parametrize(("l1", "l2"), [(0.0, 0.0), (0.0, 0.1), (0.05, 0.0)])
@pytest.mark.parametrize("loss", LOSSES)
def test_a_learner_has_the_same_bits(loss, l1, l2):
    outcomes = []
    for compiled in (False, True):
        learner = MLP((6, 5, 3), "sigmoid", LOSSES[loss].natural or "identity", LOSSES[loss], np.float32, l1=l1, l2=l2)
        if compiled:
            learner.compile(8, True)
        batches = [some_batch(6, 3, examples, loss == "cross-entropy", seed=examples) for examples in (8, 8, 5)]
        batches = [
            batch._replace(X=batch.X.astype(np.float32), T_BO=batch.T_BO.astype(np.float32)) for batch in batches
        ]
        p, gradient = learner.initial(0), np.empty(learner.size, np.float32)
        learner.run(p, np.empty((0, p.size)), 0, Optimizer(SGD(), Schedule(0.5)), batches, gradient)
        learner.gradient(p, batches[0], gradient)
        outcomes.append((p.tobytes(), gradient.tobytes(), learner.read_loss()))
    assert outcomes[0] == outcomes[1]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("threads", [1, 2])
def test_a_training_has_the_same_bits(name, threads):
    def trained(compiled: bool) -> set[str]:
        def one(transport: Any) -> str:
            here = job(strategies(4)[name], 4)
            if compiled:
                here.learner.compile(6, True)
                assert isinstance(here.learner._passes, CompiledPasses)
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
        native.of_numpys_blas("gemx", np.dtype(np.float32))
