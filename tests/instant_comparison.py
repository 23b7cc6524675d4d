"""Comparisons whose runs take no time."""

from typing import Any

import pytest
from comparing import Costs, InstantRuns, Score

from psgd.compare import timing
from psgd.compare.plan import ComparisonPlan
from psgd.compare.runner import ComparisonRunner
from psgd.config.comparison_file import read_comparison
from psgd.config.document import to_yaml

ARMS = {
    "sync": {"strategy.name": "gradient-averaging"},
    "average": {"strategy.name": "parameter-averaging"},
    "large": {"strategy.name": "gradient-averaging", "training.batch_size_per_worker": 20},
}


def score(settings: Any) -> Any:
    """Better with more workers, and with the seed's number."""
    last = 0.9 + 0.001 * settings.training.seed + 0.01 * settings.workers
    return [0.5, last, last - 0.002]


@pytest.fixture
def compared(tmp_path, monkeypatch):
    """A function that carries out a comparison in `tmp_path`, on idle cores; returns its results and the runs."""
    monkeypatch.setattr(timing, "busy_cores", lambda: 0.0)
    earlier: list[dict[str, Any]] = []

    def run(score: Score = score, fingerprint: str = "", **sections: Any) -> tuple[dict[str, Any], InstantRuns]:
        path = tmp_path / "comparison.yaml"
        path.write_text(to_yaml({"arms": ARMS, "budget": {"epochs": 3}, **sections}))
        plan = ComparisonPlan(read_comparison(str(path)), lambda settings: fingerprint)
        runs = InstantRuns(tmp_path, score)
        results = ComparisonRunner(plan, runs, Costs(), earlier[-1] if earlier else None).run()  # type: ignore[arg-type]
        earlier.append(results)
        return results, runs

    return run
