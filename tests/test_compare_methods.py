"""The names of methods in a report: a strategy and its outer optimizer."""

import pytest

from psgd.compare.methods import method_of, outer_name

DILOCO = {"learning_rate": 0.7, "momentum": 0.9, "nesterov": True}
SLOWMO = {"learning_rate": 1.0, "momentum": 0.5, "nesterov": False}


@pytest.mark.parametrize(
    ("outer", "name"),
    [
        (None, ""),
        (DILOCO, " with outer rate 0.7 and Nesterov's momentum 0.9"),
        (SLOWMO, " with outer rate 1 and momentum 0.5"),
        ({**DILOCO, "momentum": 0.0}, " with outer rate 0.7"),
    ],
)
def test_an_outer_optimizer_is_named_by_its_settings(outer, name):
    assert outer_name(outer) == name


def test_a_cell_has_the_outer_optimizer_of_the_base_or_its_own():
    def method(name="parameter-averaging", base=None, tuned=(), **settings):
        cell = {"strategy": name, "period": 10, "settings": settings, "tuned": dict.fromkeys(tuned, 0.7)}
        cell["period"] = None if name == "gradient-averaging" else 10
        return method_of({"base": {"strategy.outer": base}}, cell)

    assert method() == "parameter-averaging"
    assert method(base=SLOWMO) == "parameter-averaging with outer rate 1 and momentum 0.5"
    assert method(base=SLOWMO, **{"strategy.outer": None}) == "parameter-averaging"
    assert method("gradient-averaging", base=SLOWMO) == "gradient-averaging"
    tuned = method(tuned=["strategy.outer.learning_rate"], **{"strategy.outer": SLOWMO})
    assert tuned == "parameter-averaging with outer rate tuned and momentum 0.5"
