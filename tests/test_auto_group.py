"""Where a job runs if nobody says: threads where they are worth starting."""

import pytest

from psgd.config.resolve import resolve
from psgd.core.cgroup import Limits
from psgd.core.cores import cores
from psgd.jobs.choose.group import choose_group, thread_count

AVERAGING, GRADIENTS = "strategy.name=parameter-averaging", "strategy.name=gradient-averaging"


@pytest.mark.parametrize(
    ("hidden", "batch", "strategy", "where"),
    [
        ("[16, 16]", 50, [AVERAGING, "strategy.period=50"], "serial"),  # 3.9e6 operations
        ("[16, 16]", 200, [AVERAGING, "strategy.period=20"], "threads"),  # 15.6e6
        ("[16, 16]", 200, [AVERAGING, "strategy.period=1"], "serial"),
        ("[16, 16]", 200, [AVERAGING, "strategy.period=end"], "threads"),
        ("[16, 16]", 200, [GRADIENTS], "serial"),
        ("[512, 128, 64]", 100, [GRADIENTS], "threads"),  # 285e6
    ],
)
def test_threads_are_worth_it_for_long_steps_and_rounds(monkeypatch, hidden, batch, strategy, where):
    monkeypatch.setattr("psgd.jobs.choose.group.cores", lambda: 2)
    sizes = [f"model.hidden={hidden}", f"training.batch_size_per_worker={batch}", "workers=2", "data.source=mnist"]
    chosen, reason = choose_group(resolve(None, [*sizes, *strategy]).settings)
    assert chosen == where
    assert ("too short to gain from threads" in reason) == (where == "serial")


def test_the_number_of_threads_that_a_config_names_is_used(monkeypatch):
    monkeypatch.setattr("psgd.jobs.choose.group.cores", lambda: 2)
    settings = resolve(None, ["workers=4", "cluster.processes=3"]).settings
    assert choose_group(settings) == ("threads", "cluster.processes is 3")


@pytest.mark.parametrize(("quota", "counted"), [(None, 8), (16.0, 8), (2.5, 2), (0.5, 1)])
def test_a_container_has_as_many_cores_as_it_may_keep_busy(monkeypatch, quota, counted):
    monkeypatch.setattr("psgd.core.cores.masked_cores", lambda: 8)
    monkeypatch.setattr("psgd.core.cores.limits", lambda: Limits(quota, None))
    assert cores() == counted
    assert thread_count(resolve(None, ["workers=16"]).settings) == counted
