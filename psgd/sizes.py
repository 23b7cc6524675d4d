"""How much memory a job's vectors take."""

from typing import Any

from psgd.build import build_deal, build_learner, build_strategy
from psgd.data.dataset import Data


def shared_bytes(settings: dict[str, Any], data: Data) -> int:
    """The most that one host shares: every contribution, two replicas, sums and the folded vector."""
    learner = build_learner(settings, data)
    needs = build_strategy(settings, build_deal(settings, data).examples).needs
    vectors = (settings["workers"] * 2 + 1) * needs.contribution_rows + 2 * (1 + needs.state_rows)
    return int(vectors * learner.size * learner.dtype.itemsize)
