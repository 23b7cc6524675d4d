"""Scores of one parameter vector on a data set. Each process takes a share of the chunks. On CPUs, the bits are the
same for any number of processes."""

from typing import NamedTuple, final

import numpy as np

from psgd.core.replica import Replica
from psgd.data.dataset import Data, Examples, Reader
from psgd.group.group import Group
from psgd.learners.learner import Learner
from psgd.training.device_replica import DeviceReplica

CHUNK_EXAMPLES = 1000  # fixed: the bits of a product depend on its shape


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
    def __init__(self, learner: Learner, group: Group, outputs: int, on_device: DeviceReplica | None = None) -> None:
        """`on_device`: the replica to be scored is there."""
        self._learner, self._group, self._outputs, self._on_device = learner, group, outputs, on_device
        self._readers: dict[int, Reader] = {}  # by id of the data set

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
            table[rank :: len(members)] = self._score(replica, dataset, own)
        tables = [np.frombuffer(row).reshape(-1, 2) for row in self._group.all_gather(table.tobytes())]
        loss = right = 0.0
        for chunk in range(len(starts)):  # added in the order of chunks, each from the process that scored it
            loss += tables[chunk % len(members)][chunk, 0]
            right += tables[chunk % len(members)][chunk, 1]
        return Score(float(loss) / len(dataset), float(right) / len(dataset) if dataset.classes else None)

    def _score(self, replica: Replica, dataset: Examples, chunks: list[slice]) -> np.ndarray:
        """(chunks, 2): sum of the losses and number of right answers."""
        if self._on_device:
            return self._on_device.score(replica, dataset, chunks)
        read = self._reader(dataset)
        return np.array([self._learner.score(replica.parameters, *read(rows)) for rows in chunks])

    def _reader(self, dataset: Examples) -> Reader:
        if id(dataset) not in self._readers:
            self._readers[id(dataset)] = dataset.reader(CHUNK_EXAMPLES, self._outputs, self._learner.dtype)
        return self._readers[id(dataset)]
