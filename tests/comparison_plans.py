"""Plans of comparisons of three arms."""

from typing import Any

import pytest

from psgd.compare.plan import ComparisonPlan
from psgd.config.comparison_file import read_comparison
from psgd.config.document import to_yaml

ARMS = {
    "sync": {"strategy.name": "gradient-averaging"},
    "average": {"strategy.name": "parameter-averaging", "strategy.period": 50},
    "weighted": {"strategy.name": "weighted-averaging", "strategy.period": 50},
}
RATES = {"optimizer.learning_rate": {"log": [0.01, 1]}}


@pytest.fixture
def plan(tmp_path):
    """A function that makes the plan of a comparison."""

    def make(fingerprint: str = "data", **sections: Any) -> ComparisonPlan:
        path = tmp_path / "comparison.yaml"
        path.write_text(to_yaml({"arms": ARMS, **sections}))
        return ComparisonPlan(read_comparison(str(path)), lambda settings: fingerprint)

    return make
