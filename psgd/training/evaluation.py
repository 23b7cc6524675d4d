"""Scores of one parameter vector on a data set. Each process takes a share of the chunks. On CPUs, the bits are the
same for any number of processes."""

from typing import NamedTuple, final

import numpy as np

from psgd.core.replica import Replica
from psgd.data.dataset import Data, Examples
from psgd.group.group import Group
from psgd.training.replica_holder import CHUNK_EXAMPLES, ReplicaHolder


def reaches(target: float | None, scores: dict[str, float]) -> bool:
    """Whether `scores`, such as validation_loss, reach the target; by validation data if there are any."""
    for name in ("validation", "test"):
        if target is not None and f"{name}_loss" in scores:
            accuracy = scores.get(f"{name}_accuracy")
            return scores[f"{name}_loss"] <= target if accuracy is None else accuracy >= target
    return False


class Score(NamedTuple):
    loss: float  # mean over the examples
    accuracy: float | None  # None without classes


@final
class Evaluator:
    def __init__(self, group: Group, holder: ReplicaHolder) -> None:
        self._group, self._holder = group, holder

    def scores(self, replica: Replica, data: Data) -> dict[str, float]:
        """Collective: the scores on validation and test data, where there are any, such as test_loss."""
        found = {name: self.score(replica, part) for name, part in data.scored.items()}
        losses = {f"{name}_loss": score.loss for name, score in found.items()}
        return losses | {f"{n}_accuracy": score.accuracy for n, score in found.items() if score.accuracy is not None}

    def score(self, replica: Replica, dataset: Examples) -> Score:
        """Collective."""
        members = self._group.transport.members
        rank = members.index(self._group.transport.process)
        starts = range(0, len(dataset), CHUNK_EXAMPLES)
        table = np.zeros((len(starts), 2))  # of each chunk: sum of the losses, number of right answers
        own = [slice(start, min(start + CHUNK_EXAMPLES, len(dataset))) for start in starts[rank :: len(members)]]
        if own:
            table[rank :: len(members)] = self._holder.score(replica, dataset, own)
        tables = [np.frombuffer(row).reshape(-1, 2) for row in self._group.all_gather(table.tobytes())]
        loss = right = 0.0
        for chunk in range(len(starts)):  # added in the order of chunks, each from the process that scored it
            loss += tables[chunk % len(members)][chunk, 0]
            right += tables[chunk % len(members)][chunk, 1]
        return Score(float(loss) / len(dataset), float(right) / len(dataset) if dataset.classes else None)
