"""One combination: weights, the tree reduction, the application; and the choice between several candidate weights."""

from typing import final

import numpy as np

from psgd.core.blocks import ApplyBlock
from psgd.core.replica import Replica
from psgd.group.group import Group
from psgd.group.reports import work_done
from psgd.training.batches import Plan
from psgd.training.evaluation import Evaluator
from psgd.training.job import Job


@final
class Combination:
    def __init__(self, job: Job, group: Group, evaluator: Evaluator) -> None:
        self._job, self._group, self._evaluator = job, group, evaluator

    def combine(self, plan: Plan, steps: Plan, old: Replica, new: Replica) -> np.ndarray:
        """Collective: make `new` from `old` and the contributions, and return the weights used. `plan`: steps dealt to
        each worker; `steps`: the same, but 0 for a worker that does not count."""
        job, strategy = self._job, self._job.strategy
        candidates = strategy.weights.of(work_done(steps, job.batch))
        if len(candidates) > 1 and (candidates == candidates[0]).all():
            candidates = candidates[:1]
        epoch = (old.progress.position + sum(plan) * job.batch / 2) / job.sampler.examples

        def begin(squared_norm: float) -> ApplyBlock:
            return strategy.application.begin(old, new, epoch, squared_norm)

        losses: list[float] = []
        for weights in candidates:
            self._group.combine(weights, begin, strategy.needs.norm)
            if len(candidates) > 1:
                assert job.data.validation, "candidates are chosen between on validation data"
                losses.append(self._evaluator.score(new.parameters, job.data.validation).loss)
        best = int(np.argmin(np.nan_to_num(losses, nan=np.inf))) if losses else 0
        if best < len(candidates) - 1:
            self._group.combine(candidates[best], begin, strategy.needs.norm)
        chosen: np.ndarray = candidates[best]
        return chosen
