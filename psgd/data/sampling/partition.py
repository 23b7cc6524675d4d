"""Disjoint shards: each worker samples from its own part of the data (Zinkevich et al. 2010, algorithm 3).

In the paper each worker passes once over its shard; further passes shuffle it again (Weimer, Rao, Zinkevich 2010).
"""

from typing import final

import numpy as np

from psgd.core.errors import UsageError
from psgd.core.random_streams import stream
from psgd.data.sampling.own_streams import OwnStreams


@final
class Partition(OwnStreams):
    """Shards of T examples, a whole number of batches; the remaining examples are never used."""

    def __init__(self, examples: int, batch: int, workers: int, seed: int) -> None:
        self.shard = examples // workers // batch * batch  # T
        if self.shard == 0:
            raise UsageError(
                f"data.mode partition: {examples} examples over {workers} workers are less than a batch of {batch} "
                "each; lower workers or training.batch_size_per_worker"
            )
        seen = self.shard * workers
        dropped = f"; the remaining {examples - seen} are dropped" if seen < examples else ""
        note = f"data.mode partition: {workers} disjoint shards of {self.shard} examples{dropped}"
        super().__init__(seen, batch, note, workers, self.shard, self._draw_pass)
        self._seed = seed
        self._shards = stream(seed, "partition").permutation(examples)[:seen].reshape(workers, self.shard)

    def _draw_pass(self, worker: int, number: int) -> np.ndarray:
        """Return the rows of a worker's shard in the order of pass `number`."""
        order = stream(self._seed, "local shuffle", worker, number).permutation(self.shard)
        rows: np.ndarray = self._shards[worker][order]
        return rows
