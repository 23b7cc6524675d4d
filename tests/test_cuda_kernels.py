"""The kernels of exact.cu and tree.cu have the bits of numpy, in whatever order their threads run."""

from dataclasses import dataclass

import numpy as np
import pytest
from optimizer_rules import RULES
from pretend.launching import KINDS, addresses, ints, launch
from pretend.marks import needs_compiler

from psgd.backends.cuda import programs
from psgd.backends.cuda.device import Program
from psgd.backends.layout import Layout
from psgd.backends.numpy.activations import ACTIVATIONS, Scratch
from psgd.backends.numpy.backend import NUMPY
from psgd.group.tree_reduce import TreeReducer

pytestmark = needs_compiler

BLOCK = (256,)


@dataclass
class Case:
    """A program of all kernels for one kind of numbers, and random numbers."""

    dtype: np.dtype
    inputs: np.dtype

    def __post_init__(self) -> None:
        self.program = programs.make_program(["exact", "network"], self.dtype, self.inputs)
        self.draw = np.random.default_rng(0)

    def some(self, *shape: int) -> np.ndarray:
        """Numbers of any size, some of them not finite, or zeros."""
        with np.errstate(over="ignore"):
            numbers = self.draw.normal(size=shape) * 10.0 ** self.draw.integers(-44, 38, shape)
            numbers = numbers.astype(self.dtype)
        odd = self.draw.random(shape) < 0.05
        numbers[odd] = self.draw.choice([np.nan, np.inf, -np.inf, 0.0, -0.0], np.count_nonzero(odd))
        return numbers

    def unwritten(self, *shape: int) -> np.ndarray:
        return np.full(shape, 12345.0, self.dtype)

    def array(self, numbers: object) -> np.ndarray:
        return np.array(numbers, self.dtype)


@pytest.fixture(params=[("float32", "uint8"), ("float64", "float64")], ids=["float32", "float64"])
def case(request):
    return Case(*map(np.dtype, request.param))


def same(a: np.ndarray, b: np.ndarray) -> bool:
    """Whether the bits are the same, but which nan it is."""
    assert a.dtype == b.dtype
    assert a.shape == b.shape
    bits = np.dtype(f"u{a.itemsize}")
    nan = np.isnan(a)
    return np.array_equal(nan, np.isnan(b)) and np.array_equal(a[~nan].view(bits), b[~nan].view(bits))


@pytest.mark.parametrize(("scale", "F"), [(1.0, 36), (1 / 255, 36), (1 / 255, 37)])
def test_rows_of_this_step_are_gathered(case, scale, F):
    """In fours, or one by one; with gaps after each line, which stay; and zeros for a worker that takes no step, whose
    rows are nonsense."""
    N, B, W, line, now = 50, 6, 3, 40, 1
    inputs = (case.draw.random((N, F)) * 256).astype(case.inputs)
    rows = case.draw.integers(0, N, (2, W, B)).astype(np.int32)
    rows[now, 1] = 2**31 - 1
    X, want = case.unwritten(W, B, line), case.unwritten(W, B, line)
    launch(case.program, "gather", (B, W), (32,), inputs, rows, ints(now), ints(2, 1, 3), B, F, line, scale, X)
    want[1, :, :F] = 0
    for w in (0, 2):
        X_BI = np.empty((B, F + 1), case.dtype)
        NUMPY.gather(inputs, rows[now, w], scale, X_BI)
        want[w, :, :F] = X_BI[:, :F]
    assert same(X, want)


@pytest.mark.parametrize("name", ["relu", "sigmoid", "tanh"])
def test_deltas(case, name):
    B, O, W, lined, line = 9, 31, 2, 32, 36  # noqa: E741
    A, D = np.tanh(case.draw.normal(size=(W, B, line))).astype(case.dtype), case.some(W, B, lined)
    if name != "tanh":
        A = np.maximum(A, 0, out=A)
    A[0, 0, :3] = np.nan, 1.0, 0.0
    want = D.copy()
    backward = ACTIVATIONS[name].actions(*(np.empty((O, B), case.dtype) for _ in range(3)))[1]
    assert len(backward) == 1
    for w in range(W):
        kind = np.dtype(f"u{A.itemsize}") if ACTIVATIONS[name].integer else case.dtype
        D_OB = np.ascontiguousarray(want[w, :, :O].T)
        A_OB = np.ascontiguousarray(A[w, :, :O].T)
        with np.errstate(all="ignore"):
            ACTIVATIONS[name].backward(A_OB.view(kind), D_OB.view(kind), Scratch.make((O, B), kind))
        want[w, :, :O] = D_OB.T
    launch(case.program, "deltas", (2, W), BLOCK, D, A, KINDS[name], B, O, lined, line)
    assert same(D, want)


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.name)
@pytest.mark.parametrize("clip", [1.0, 0.37])
def test_a_rule_takes_the_step_of_each_worker(case, rule, clip):
    """Its moments are rows of a longer vector; a worker that takes no step keeps all its bits."""
    P, W, steps, rows = 301, 3, 3, rule.moment_rows
    vectors = case.some(W, 1 + rows, P)  # parameters and moments, as contributions have them that average moments
    vectors[:, 2:] = np.abs(vectors[:, 2:])
    factors = np.zeros((steps, W, 4), case.dtype)
    for step in range(steps):
        for w in range(W):
            factors[step, w, : len(rule.factors(1, 0.1))] = rule.factors(step + 1, 0.01 * (w + 1))
    clips, limits = case.array([1.0, clip, clip]), ints(steps, 2, steps)
    at, stride = vectors.reshape(-1), (1 + rows) * P
    for step in range(steps):
        g, want = case.some(W, P), vectors.copy()
        for w in np.flatnonzero(limits > step).tolist():  # a rate of numpy would be multiplied in float64
            with np.errstate(all="ignore"):
                gradient, p, m = g[w] * clips[w], want[w, 0], want[w, 1:]
                NUMPY.update(rule.name)(p, gradient, m, rule.factors(step + 1, 0.01 * (w + 1)), p, m)
        before = vectors.copy()
        launch(
            *(case.program, rule.name, (2, W), BLOCK, at, stride, g, P, at[P:] if rows else None, stride),
            *(factors, ints(step), limits, clips, P),
        )
        assert same(vectors, want)
        assert vectors[1].tobytes() == before[1].tobytes() or step < 2
        assert not same(vectors[0], before[0])


@pytest.mark.parametrize(("l1", "l2"), [(0.0, 0.01), (0.003, 0.0), (0.003, 0.01)])
def test_penalties_are_for_weights_alone(case, l1, l2):
    layout, W = Layout((7, 5, 3, 1)), 2
    P = layout.size
    spans = np.array([(start, start + inputs * outputs) for inputs, outputs, start in layout.layers], np.int64)
    g, p = case.some(W, P), case.some(W, 2, P)
    p[0, 0, :3] = 0.0, -0.0, np.nan
    want = g.copy()
    for w in range(W):
        with np.errstate(all="ignore"):
            for (dW, _), (weights, _) in zip(layout.views(want[w]), layout.views(p[w, 0]), strict=True):
                if l2:
                    dW += l2 * weights
                if l1:
                    dW += l1 * np.sign(weights)
    launch(case.program, "regularize", (1, W), (32,), g, P, p, 2 * P, l1, l2, spans, len(spans), P)
    assert same(g, want)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_the_tree_of_any_number_of_workers(dtype):
    """Workers without a weight are left out, whatever they hold; only the slice is written, to every place given."""
    case, most, C, P, part = Case(np.dtype(dtype), np.dtype(dtype)), 17, 2, 70, slice(3, 61)
    trees = several_trees(case, most)
    contributions = [case.draw.normal(size=(C, P)).astype(dtype) * 10**w for w in range(most)]
    for workers in range(1, most + 1):
        for absent in (set(), {workers // 2}, set(range(1, workers, 2)), set(range(workers - 1))):
            weights = case.draw.random(workers).astype(dtype)
            given = tuple((w, 0) for w in range(workers) if w not in absent or workers == 1)
            leaves = [contributions[w] if (w, 0) in given else np.full((C, P), np.nan, dtype) for w in range(workers)]
            weights[[w for w in range(workers) if (w, 0) not in given]] = 0.0

            def load(number, where, out, leaves=leaves, weights=weights, given=given):
                worker = given[number][0]
                np.multiply(leaves[worker][:, where], weights[worker], out)

            outs = [case.unwritten(C, P) for _ in range(2)]
            want = outs[0].copy()
            want[:, part] = TreeReducer(C, P, case.dtype).reduce(given, load, part)
            # in one order of threads, which only share what they read
            launch(trees, f"reduce_{workers}", (2, C), (16,), addresses(leaves), weights, addresses(outs), 2, 3, 61, P)
            assert same(outs[0], want)
            assert same(outs[1], want)


def several_trees(case: Case, most: int) -> Program:
    """tree.cu for 1, 2, ... workers in one program, since each compilation takes a second."""
    text = (common := programs.make_program([], case.dtype, case.dtype).text) + "\n"
    tree = programs.make_program(["tree"], case.dtype, case.dtype).text.removeprefix(common)
    for workers in range(1, most + 1):
        each = tree.replace("WORKERS", str(workers)).replace("reduce(", f"reduce_{workers}(")
        text += each.replace("node", f"node_{workers}").replace("height", f"height_{workers}")
    return programs.parse(text, {"REAL": {4: "float", 8: "double"}[case.dtype.itemsize], "INPUT": "float"})


def test_a_round_begins_at_the_replica_for_fresh_workers(case):
    W, CP = 3, 83
    replica, contributions = case.some(CP), case.some(W, CP)
    want = contributions.copy()
    want[[0, 2]] = replica
    launch(case.program, "start_round", (2, W), (32,), replica, contributions, ints(1, 0, 1), CP)
    assert same(contributions, want)


@pytest.mark.parametrize("squares", [0, 1])
def test_the_first_number_that_is_not_finite(case, squares):
    """Its index in its row of P. Squares overflow at the root of the largest number."""
    W, P, rows, none = 5, 100, 2, 2**31 - 1
    v = np.ones((W, rows * P + 3), case.dtype)
    v[1, [60, 161]] = np.nan, -np.inf
    v[2, 155] = np.sqrt(np.finfo(case.dtype).max) * 2
    v[3, 7] = np.inf  # nobody asks for this worker
    v[4, rows * P] = np.nan  # behind the vector
    first = np.full(W, none, np.int32)
    wanted = ints(1, 1, 1, 0, 1)
    launch(case.program, "finite", (2, W), (32,), v, rows * P + 3, rows * P, P, squares, wanted, first)
    assert first.tolist() == [none, 60, 55 if squares else none, none, none]
    first[1] = 3
    launch(case.program, "finite", (2, W), (32,), v, rows * P + 3, rows * P, P, squares, wanted, first)
    assert first[1] == 3


@pytest.mark.parametrize("at", range(0, 300, 13))
def test_a_number_that_is_not_finite_is_found_wherever_it_is(at):
    """A thread looks at several at a time."""
    case, first = Case(np.dtype(np.float32), np.dtype(np.uint8)), ints(2**31 - 1)
    v = np.ones(300, case.dtype)
    v[at] = np.nan
    launch(case.program, "finite", (1, 1), (32,), v, 300, 300, 300, 1, ints(1), first)
    assert first[0] == at


def test_behind_the_inputs_stand_a_one_and_zeros(case):
    lines = case.some(6, 8)
    wanted = lines.copy()
    wanted[:5, 5], wanted[:5, 6:] = 1, 0
    launch(case.program, "pad", (2,), (32,), lines, 5, 8, 40)
    assert same(lines, wanted)


def test_filling_and_the_end_of_a_step(case):
    numbers, reals, step = ints(*range(70)), case.some(70), ints(4)
    launch(case.program, "fill", (2,), (32,), numbers, -7, 69)
    launch(case.program, "fill_real", (2,), (32,), reals[1:], 0.1, 69)
    launch(case.program, "tick", (1,), (1,), step)
    assert numbers.tolist() == [-7] * 69 + [69]
    assert same(reals[1:], np.full(69, 0.1, case.dtype))
    assert step[0] == 5
