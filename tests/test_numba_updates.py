"""Optimizers compiled to one pass over memory have the bits of numpy's passes."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from jobs import NAMES, job, strategies, train
from optimizer_rules import RULES

from psgd.backends.numpy.backend import NUMPY
from psgd.core.blocks import BLOCK_ELEMENTS
from psgd.group.serial import Serial
from psgd.group.threads import run_threads
from psgd.optimizers.optimizer import Optimizer
from psgd.optimizers.schedule import Schedule

pytest.importorskip("numba")
from psgd.backends.numba.backend import NumbaBackend

NUMBA = NumbaBackend(1)


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("apart", [False, True])
def test_a_rule_in_one_pass_has_the_bits_of_many(rule, dtype, apart):
    """For numbers of any size, in more than one block; and they are nan for the same numbers."""
    draw, n, bits = (
        np.random.default_rng(0),
        2 * BLOCK_ELEMENTS + 5,
        {4: np.uint32, 8: np.uint64}[np.dtype(dtype).itemsize],
    )
    plain, compiled = (Optimizer(rule, Schedule(0.0), backend=backend) for backend in (NUMPY, NUMBA))

    def some(*shape: int) -> np.ndarray:
        numbers = (draw.normal(size=shape) * 10.0 ** draw.integers(-44, 38, shape)).astype(dtype)
        odd = draw.random(shape) < 0.05
        numbers[odd] = draw.choice([np.nan, np.inf, -np.inf, 0.0, -0.0], np.count_nonzero(odd))
        return numbers

    p, state = some(n), np.abs(some(rule.moment_rows, n))
    for count in (1, 2, 1000):
        g = some(n)
        results = []
        for each in (plain, compiled):
            new, new_state = (np.zeros_like(p), np.zeros_like(state)) if apart else (p.copy(), state.copy())
            with np.errstate(all="ignore"):
                old, old_state = (p, state) if apart else (new, new_state)
                each.update(old, g.copy(), old_state, rule.factors(count, 0.01), new, new_state)
            results.append((new, new_state))
        (new, new_state), (q, again) = results
        for numbers in (new, new_state, q, again):  # the sign of nan depends on numpy's version
            numbers[np.isnan(numbers)] = np.nan
        assert np.array_equal(new.view(bits), q.view(bits))
        assert np.array_equal(new_state.view(bits), again.view(bits))
        assert not np.array_equal(p, q)
        p, state = new, new_state


@pytest.mark.parametrize("name", [name for name in NAMES if "momentum" in name or "adam" in name])
@pytest.mark.parametrize("threads", [1, 2])
def test_training_with_a_compiled_rule_has_the_same_bits(name, threads):
    strategy = strategies(4)[name]

    def compiled(part: Any) -> Any:
        """A copy with the optimizer's rule compiled."""
        if isinstance(part, Optimizer):
            return replace(part, backend=NUMBA)
        parts = {where: getattr(part, where) for where in ("optimizer", "local", "application") if hasattr(part, where)}
        return replace(part, **{where: compiled(value) for where, value in parts.items()}) if parts else part

    fast = compiled(strategy)
    assert fast != strategy
    hashes = run_threads(threads, 60.0, lambda transport: train(job(fast, 4), transport)[0])
    assert set(hashes) == {train(job(strategy, 4), Serial())[0]}
