"""Scores of one parameter vector on a data set, each process a share of the chunks, the same bits for any number."""

from typing import NamedTuple, final

import numpy as np

from psgd.data.dataset import Examples, Reader
from psgd.group.group import Group
from psgd.learners.learner import Learner

CHUNK = 1000  # examples: fixed, since other shapes may give other bits


class Score(NamedTuple):
    loss: float  # mean over the examples
    accuracy: float | None  # None without classes


@final
class Evaluator:
    def __init__(self, learner: Learner, group: Group, outputs: int) -> None:
        self._learner, self._group, self._outputs = learner, group, outputs
        self._readers: dict[int, Reader] = {}

    def score(self, parameters: np.ndarray, dataset: Examples) -> Score:
        """Collective."""
        members = self._group.transport.members
        me, starts = members.index(self._group.transport.process), range(0, len(dataset), CHUNK)
        table = np.zeros((len(starts), 2))
        for chunk in range(me, len(starts), len(members)):
            rows = slice(starts[chunk], min(starts[chunk] + CHUNK, len(dataset)))
            table[chunk] = self._chunk(parameters, dataset, rows)
        tables = [np.frombuffer(row).reshape(-1, 2) for row in self._group.all_gather(table.tobytes())]
        loss = right = 0.0
        for chunk in range(len(starts)):  # in chunk order, each from its owner
            loss += tables[chunk % len(members)][chunk, 0]
            right += tables[chunk % len(members)][chunk, 1]
        return Score(float(loss) / len(dataset), float(right) / len(dataset) if dataset.classes else None)

    def _chunk(self, parameters: np.ndarray, dataset: Examples, rows: slice) -> tuple[float, int]:
        if id(dataset) not in self._readers:
            self._readers[id(dataset)] = dataset.reader(CHUNK, self._outputs, self._learner.dtype)
        return self._learner.score(parameters, *self._readers[id(dataset)](rows))
