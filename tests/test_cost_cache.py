"""Costs are measured once for all cells of equal work, so that noise does not decide between them."""

import json

import pytest

from psgd.compare import cost_cache
from psgd.compare.cost_cache import CostCache, common_work, work_key
from psgd.config.resolve import resolve


def key(*overrides: str) -> str:
    return work_key(common_work(resolve(None, ["optimizer.name=sgd", *overrides]).settings))


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ([], ["optimizer.learning_rate=0.5"]),
        ([], ["optimizer.schedule=cosine", "optimizer.warmup=2"]),
        (["optimizer.l2=1e-4"], ["optimizer.l2=2e-4"]),
        (["optimizer.momentum=0.5"], ["optimizer.momentum=0.9"]),
        (["optimizer.clip_norm=1"], ["optimizer.clip_norm=2"]),
        (["strategy.name=parameter-averaging"], ["strategy.name=weighted-averaging", "workers=4"]),
    ],
)
def test_equal_work_is_measured_once(one, other):
    assert key(*one) == key(*other)


@pytest.mark.parametrize(
    "more",
    ["optimizer.l1=1e-4", "optimizer.momentum=0.5", "optimizer.clip_norm=1", "optimizer.name=adam",
     "model.hidden=[7]", "training.batch_size_per_worker=77", "strategy.period=7"],
)  # fmt: skip
def test_other_work_is_measured_apart(more):
    assert key() != key(more)


HOLDOUT = ("strategy.name=weighted-averaging", "workers=2", "cluster.speeds=[1,0.5]", "data.validation=0.1")


@pytest.fixture
def cache(tmp_path, monkeypatch):
    """A function that makes a cost cache in `tmp_path`, of costs that take no time; so many cores are busy."""

    def make(*busy: float) -> CostCache:
        cores = iter(busy)
        monkeypatch.setattr(cost_cache, "busy_cores", lambda: next(cores))
        for act in (_of_rounds, measure_contention, measure_choice):
            monkeypatch.setattr(cost_cache, act.__name__, act)
        monkeypatch.setattr(cost_cache, "load_data", lambda settings: None)
        return CostCache(tmp_path)

    def _of_rounds(settings, data):
        return {"parameters": 1, "message_bytes": 4, "costs": {"step": 1.0}}

    def measure_contention(settings, data):
        return {"contention": 0.5, "barrier": 2.0}

    def measure_choice(settings, data):
        return {"candidates": 7.0, "score": 1.0}

    return make


@pytest.mark.parametrize(
    ("busy", "idle"), [((0.0, 0.0, 0.0), True), ((1.0, 0.0, 0.0), False), ((0.0, 1.0, 0.0), False), ((0, 0, 1), False)]
)
def test_whether_the_machine_was_idle_is_kept_with_the_costs(cache, capsys, busy, idle):
    """Also when they are looked up again: then nothing is measured, and nothing said."""
    settings = resolve(None, list(HOLDOUT)).settings
    found = cache(*busy).look_up(settings)
    assert found == {
        "parameters": 1,
        "message_bytes": 4,
        "costs": {"step": 1.0, "contention": 0.5, "barrier": 2.0, "candidates": 7.0, "score": 1.0},
        "costs_idle": idle,
    }
    assert capsys.readouterr().err.count("other programs use 1.0 cores") == (not idle)
    assert cache().look_up(settings) == found
    assert capsys.readouterr().err == ""


def test_of_costs_without_a_note_it_is_not_known(cache, tmp_path):
    settings = resolve(None, list(HOLDOUT)).settings
    cache(0.0, 0.0, 0.0).look_up(settings)
    file = tmp_path / "costs.json"
    known = json.loads(file.read_text())
    file.write_text(json.dumps({key: {k: v for k, v in each.items() if k != "idle"} for key, each in known.items()}))
    assert cache().look_up(settings)["costs_idle"] is None


def test_contention_is_measured_once_for_each_network_whatever_the_strategy(cache, tmp_path):
    known = cache(*[0.0] * 5)
    measured = []
    for overrides in (
        ["strategy.name=gradient-averaging"],
        ["strategy.name=parameter-averaging", "strategy.period=7", "workers=8"],
        ["strategy.name=gradient-averaging", "model.hidden=[7]"],
    ):
        settings = resolve(None, overrides).settings
        assert not known.knows(settings)
        assert known.look_up(settings)["costs"]["contention"] == 0.5
        assert known.knows(settings)
        names = [name.split()[0] for name in json.loads((tmp_path / "costs.json").read_text())]
        measured.append((names.count("of_rounds"), names.count("of_contention")))
    assert measured == [(1, 1), (2, 1), (3, 2)]


@pytest.mark.parametrize("text", ["", "null", "[1]"])
def test_a_broken_file_is_as_none(cache, tmp_path, text):
    (tmp_path / "costs.json").write_text(text)
    assert cache(0.0, 0.0, 0.0).look_up(resolve(None, list(HOLDOUT)).settings)["costs_idle"]
