"""Costs are measured once for all cells of equal work, so that noise does not decide between them."""

import pytest

from psgd.compare.cost_book import common_work, work_key
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
