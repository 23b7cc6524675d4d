"""Disjoint shards: Zinkevich et al. 2010, algorithm 3. Each worker sees its own part of the data and no other.

One pass with one-shot averaging is the paper's; further passes shuffle each shard again (Weimer, Rao, Zinkevich 2010).
"""

from collections.abc import Iterator, Sequence
from typing import final

import numpy as np

from psgd.core.errors import UsageError
from psgd.core.random_streams import stream
from psgd.core.replica import Progress
from psgd.data.sampling.shuffle import IndexBatch


@final
class Partition:
    """T = floor(m / k) examples a worker, a whole number of batches; what is left over is never seen."""

    def __init__(self, examples: int, batch: int, workers: int, seed: int) -> None:
        self.shard = examples // workers // batch * batch  # T
        if self.shard == 0:
            raise UsageError(
                f"data.mode partition: {examples} examples over {workers} workers are less than a batch of {batch} "
                "each; lower workers or training.batch_size_per_worker"
            )
        self.examples = self.shard * workers
        dropped = examples - self.examples
        self.note = f"data.mode partition: {workers} disjoint shards of {self.shard} examples" + (
            f"; the remaining {dropped} are dropped" if dropped else ""
        )
        self.batch, self._seed = batch, seed
        self._parts = stream(seed, "partition").permutation(examples)[: self.examples].reshape(workers, self.shard)
        self._passes: dict[int, tuple[int, np.ndarray]] = {}  # worker -> (pass, its order)

    def batches(
        self, worker: int, plan: Sequence[int], first: int, steps: int, progress: Progress
    ) -> Iterator[IndexBatch]:
        before = progress.dealt[worker] if progress.dealt else 0
        for step in range(before + first, before + first + steps):
            number, cursor = divmod(step * self.batch, self.shard)
            rows = self._order(worker, number)[cursor : cursor + self.batch]
            yield IndexBatch(rows, (step + 0.5) * self.batch / self.shard)

    def _order(self, worker: int, number: int) -> np.ndarray:
        """The rows of the shard, shuffled anew in each pass."""
        known = self._passes.get(worker)
        if known is None or known[0] != number:
            order = stream(self._seed, "local shuffle", worker, number).permutation(self.shard)
            known = self._passes[worker] = number, self._parts[worker][order]
        return known[1]
