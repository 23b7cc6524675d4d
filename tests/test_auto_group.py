"""Where a job runs if nobody says: threads where they are worth starting."""

import pytest

from psgd.config.resolve import resolve
from psgd.jobs.choose.group import choose_group

AVERAGING, GRADIENTS = "strategy.name=parameter-averaging", "strategy.name=gradient-averaging"


@pytest.mark.parametrize(
    ("hidden", "batch", "strategy", "group"),
    [
        ("[16, 16]", 50, [AVERAGING, "strategy.period=50"], "serial"),  # 3.9e6 operations
        ("[16, 16]", 200, [AVERAGING, "strategy.period=20"], "threads"),  # 15.6e6
        ("[16, 16]", 200, [AVERAGING, "strategy.period=1"], "serial"),
        ("[16, 16]", 200, [AVERAGING, "strategy.period=end"], "threads"),
        ("[16, 16]", 200, [GRADIENTS], "serial"),
        ("[512, 128, 64]", 100, [GRADIENTS], "threads"),  # 285e6
    ],
)
def test_threads_are_worth_it_for_long_steps_and_rounds(monkeypatch, hidden, batch, strategy, group):
    monkeypatch.setattr("psgd.jobs.choose.group.cores", lambda: 2)
    sizes = [f"model.hidden={hidden}", f"training.batch_size_per_worker={batch}", "workers=2", "data.source=mnist"]
    chosen, reason = choose_group(resolve(None, [*sizes, *strategy]).settings)
    assert chosen == group
    assert ("too short to gain from threads" in reason) == (group == "serial")


def test_the_number_of_threads_that_a_config_names_is_used(monkeypatch):
    monkeypatch.setattr("psgd.jobs.choose.group.cores", lambda: 2)
    settings = resolve(None, ["workers=4", "cluster.processes=3"]).settings
    assert choose_group(settings) == ("threads", "cluster.processes is 3")
