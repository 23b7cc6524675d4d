"""Checkpoints as a collective act: every process writes its workers, the first the replica, and then completes it."""

from pathlib import Path
from typing import Any, final

import numpy as np

from psgd.core.errors import Diverged
from psgd.core.replica import Progress, Replica
from psgd.group.failure import Agreement
from psgd.group.group import Group
from psgd.training.checkpoint_files import CheckpointFiles, CheckpointTag
from psgd.training.local_steps import LocalSteps
from psgd.training.recorder import Recorder

_NONE = CheckpointTag(-1, 0)


@final
class Checkpoints:
    """With no directory there is nothing to save to, and nothing to go on from."""

    def __init__(
        self,
        directory: Path | None,
        every: float,
        group: Group,
        agreement: Agreement,
        local_steps: LocalSteps,
        record: Recorder,
    ) -> None:
        self._store = CheckpointFiles(directory / "checkpoints") if directory else None
        self._every, self._group, self._agreement, self._local_steps, self._record = (
            every,
            group,
            agreement,
            local_steps,
            record,
        )
        self._saved = 0.0  # seconds of training at the last checkpoint

    @property
    def due(self) -> bool:
        return self._store is not None and self._record.train_seconds - self._saved >= self._every

    def newest(self) -> CheckpointTag | None:
        """Collective: the newest checkpoint that the first process sees."""
        newest = (self._store.newest() if self._store else None) or _NONE
        rows = self._group.all_gather(np.array(newest, np.int64).tobytes())
        tag = CheckpointTag(*np.frombuffer(rows[0], np.int64).tolist())
        return None if tag == _NONE else tag

    def load(self, tag: CheckpointTag, vectors: np.ndarray) -> Progress:
        """This process's part: the replica into `vectors`, and the private states of its workers."""
        assert self._store
        progress, record = self._store.load_replica(tag, vectors)
        self._record.restore(record)
        self._saved = self._record.train_seconds
        for worker in self._local_steps.workers.values():
            self._store.load_worker(tag, worker)
        return progress

    def save(self, replica: Replica, done: int) -> None:
        """Collective. `done`: steps that all workers together have taken in this round. A replica that is not finite
        is never saved: Diverged."""
        if self._store is None:
            return
        check_finite(replica)
        store, tag = self._store, CheckpointTag(replica.progress.round, done)

        def write() -> None:
            for worker in self._local_steps.workers.values():
                store.write_worker(tag, worker)
            if self._group.first:
                store.write_replica(tag, replica)

        def complete() -> None:
            self._record.flush()  # whoever goes on from here finds the lines until here
            record: dict[str, Any] = self._record.state()
            if self._group.first:
                store.finish(tag, replica, record)

        self._agreement.together(write)
        self._agreement.together(complete)
        self._saved = self._record.train_seconds


def check_finite(replica: Replica) -> None:
    """Diverged, if the combination of finite contributions was not."""
    if not np.isfinite(replica.vectors).all():
        raise Diverged(f"round {replica.progress.round}: the combined parameters are not finite; they were not saved")
