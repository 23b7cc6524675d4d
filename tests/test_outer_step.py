"""The outer optimizer's step towards the average: closed forms, identities, the same bits everywhere, and settings."""

import numpy as np
import pytest
from jobs import job, loop_of, train

import psgd
from psgd.config.resolve import resolve
from psgd.core.errors import Diverged, UsageError
from psgd.core.replica import Progress, Replica
from psgd.group.serial import Serial
from psgd.group.threads import run_threads
from psgd.jobs.build import strategy_of
from psgd.jobs.choose.device import can_combine
from psgd.jobs.estimators.parameters import in_words_of_estimators
from psgd.optimizers.optimizer import Optimizer
from psgd.optimizers.rules import SGD, Adam
from psgd.optimizers.schedule import Schedule
from psgd.strategy.presets import parameter_averaging

STEP, PERIOD, ROUNDS = 0.1, 5, 6
START = np.array([3.0, -2.0])


def fit(**outer: float | bool) -> psgd.Fitted:
    """Descend w^2 / 2, whose every step multiplies w by 1 - STEP, whoever takes it."""
    examples = np.zeros((60, 1))
    return psgd.fit(
        lambda w, X, y: (w, 0.5 * float(w @ w)), START, (examples, examples[:, 0]), workers=2,
        strategy={"name": "parameter-averaging", "period": PERIOD, "outer": outer}, learning_rate=STEP,
        batch_size_per_worker=6, epochs=ROUNDS,
    )  # fmt: skip


def closed_form(rate: float, momentum: float, nesterov: bool) -> np.ndarray:
    """DiLoCo's rule where each worker ends at (1 - STEP)^PERIOD w. Without Nesterov's momentum, SlowMo's and BMUF's."""
    w, v = START, 0 * START
    for _ in range(ROUNDS):
        d = w - (1 - STEP) ** PERIOD * w
        v = momentum * v + d
        w = w - rate * (d + momentum * v if nesterov else v)
    return w


@pytest.mark.parametrize("nesterov", [True, False])
@pytest.mark.parametrize(("rate", "momentum"), [(0.7, 0.9), (1.0, 0.5), (0.5, 0.0)])
def test_closed_forms_of_a_quadratic(rate, momentum, nesterov):
    found = fit(learning_rate=rate, momentum=momentum, nesterov=nesterov)
    assert found.summary["rounds"] == ROUNDS
    expected = closed_form(rate, momentum, nesterov and momentum > 0)
    np.testing.assert_allclose(found.parameters, expected, rtol=1e-13)


def test_the_defaults_are_those_of_diloco():
    np.testing.assert_allclose(fit().parameters, closed_form(0.7, 0.9, True), rtol=1e-13)


def test_a_divergence_names_both_learning_rates():
    with pytest.raises(Diverged, match=r"Lower learning_rate or strategy\['outer'\]\['learning_rate'\] or set"):
        fit(learning_rate=1e300)
    words = "lower strategy['outer']['learning_rate']"
    assert in_words_of_estimators("lower strategy.outer.learning_rate") == words


def averaging(state: str, outer: Optimizer | None):
    return parameter_averaging(4, 6, Optimizer(Adam(), Schedule(0.01)), state, outer)


@pytest.mark.parametrize("state", ["keep", "average", "reset"])
def test_a_whole_step_without_momentum_is_the_average_to_rounding(state):
    """Also where the moments of the workers are averaged, which no outer step concerns."""
    plain = loop_of(job(averaging(state, None), 4)).run()
    outer = loop_of(job(averaging(state, Optimizer(SGD(), Schedule(1.0))), 4)).run()
    assert outer.vectors.shape == plain.vectors.shape
    assert outer.vectors.tobytes() != plain.vectors.tobytes(), "it is not the same sum"
    np.testing.assert_allclose(outer.vectors, plain.vectors, rtol=1e-4, atol=1e-6)


def test_every_group_has_the_same_bits_where_moments_are_averaged_too():
    one = averaging("average", Optimizer(SGD(0.9, nesterov=True), Schedule(0.7)))
    assert one.needs.state_rows == 3, "two moments of Adam, and the outer momentum"
    expected = train(job(one, 4), Serial())
    for processes in (2, 3):
        assert run_threads(processes, 20.0, lambda transport: train(job(one, 4), transport)) == [expected] * processes


@pytest.mark.parametrize("rule", [SGD(), SGD(0.5), SGD(0.5, nesterov=True)])
def test_a_step_in_place_has_the_same_bits(rule):
    """Old and new replica are one where no loss has to be survived. Rows: the parameters, an averaged moment, v."""
    draw = np.random.default_rng(0)
    application = parameter_averaging(
        1, 6, Optimizer(SGD(0.9), Schedule(0.1)), "average", Optimizer(rule, Schedule(0.7))
    )
    start = draw.random((2 + rule.moment_rows, 50), np.float32)
    reduced = draw.random((2, 50), np.float32)
    old, new, same = (Replica(vectors, Progress()) for vectors in (start.copy(), np.empty_like(start), start.copy()))
    for a, b in ((old, new), (same, same)):
        application.application.begin(a, b, 0.0, np.nan)(reduced.copy(), slice(0, 50))
    assert (new.vectors == same.vectors).all()
    assert (old.vectors == start).all()
    assert (new.vectors[1] == reduced[1]).all()
    gradient = start[0] - reduced[0]
    if not rule.momentum:
        np.testing.assert_allclose(new.parameters, start[0] - np.float32(0.7) * gradient, rtol=1e-6)
    else:
        np.testing.assert_allclose(new.vectors[2], np.float32(0.5) * start[2] + gradient, rtol=1e-6)


def test_gpus_leave_it_to_the_host():
    settings = [
        resolve(None, ["strategy.name=parameter-averaging", *more]).settings for more in ([], ["strategy.outer={}"])
    ]
    assert [can_combine(strategy_of(each, 100)) for each in settings] == [True, False]


def test_candidates_for_the_weights_are_refused():
    given = ["cluster.speeds=[1, 0.5]", "workers=2", "strategy.outer={}"]
    with pytest.raises(UsageError, match=r"strategy.outer is set, but strategy.contraction is holdout, .* a number"):
        resolve(None, given)
    settings = resolve(None, [*given, "strategy.contraction=1"]).settings
    assert strategy_of(settings, 100).needs.state_rows == 1
