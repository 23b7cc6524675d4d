"""Combines the contributions of a round by the strategy's weights; of several candidates for these, by those whose
replica scores best on validation data."""

from typing import final

import numpy as np

from psgd.core.replica import Replica
from psgd.strategy.strategy import WorkDone
from psgd.training.evaluation import Evaluator
from psgd.training.job import Job
from psgd.training.replica_holder import ReplicaHolder
from psgd.training.steps.batches import StepCounts


@final
class Combination:
    def __init__(self, job: Job, holder: ReplicaHolder, evaluator: Evaluator) -> None:
        self._job, self._holder, self._evaluator = job, holder, evaluator
        self._steps: StepCounts = ()  # of the last combination; most rounds have the same, and so the same weights
        self._candidates: list[np.ndarray] = []  # weights for these steps

    def combine(self, plan: StepCounts, steps: StepCounts, old: Replica, new: Replica) -> tuple[np.ndarray | None, int]:
        """Collective: make `new` from `old` and the contributions, unless nobody worked; return the weights used, and
        how many combinations it took. `plan`: steps dealt to each worker; `steps`: the same, but 0 for a worker that
        does not count."""
        if not any(steps):
            return None, 0
        job = self._job
        if steps != self._steps:
            self._steps, self._candidates = steps, self._weigh(steps)
        candidates = self._candidates
        epoch = (old.progress.position + sum(plan) * job.batch / 2) / job.sampler.examples
        losses: list[float] = []
        for weights in candidates:
            self._holder.combine(weights, old, new, epoch)
            if len(candidates) > 1:
                assert job.data.validation, "candidates are chosen between on validation data"
                losses.append(self._evaluator.score(new, job.data.validation).loss)
        best = int(np.argmin(np.nan_to_num(losses, nan=np.inf))) if losses else 0
        again = best < len(candidates) - 1  # the last one tried is there already
        if again:
            self._holder.combine(candidates[best], old, new, epoch)
        return candidates[best], len(candidates) + again

    def _weigh(self, steps: StepCounts) -> list[np.ndarray]:
        """The strategy's candidates for the weights (workers,), or one of them if all are the same."""
        taken = np.array(steps, np.int64)
        candidates = self._job.strategy.weights.of(WorkDone(taken, taken * self._job.batch))
        return list(candidates[:1] if (candidates == candidates[0]).all() else candidates)
