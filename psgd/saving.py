"""Checkpoints as a collective act: every process writes its workers, the first the replica, and then completes it."""

from pathlib import Path
from typing import Any, final

import numpy as np

from psgd.agreement import Agreement
from psgd.checkpoint import Store, Tag
from psgd.errors import Diverged
from psgd.group.group import Group
from psgd.legs import Legs
from psgd.record import Record
from psgd.replica import Progress, Replica

_NONE = Tag(-1, 0)


@final
class Saving:
    """With no directory there is nothing to save to, and nothing to go on from."""

    def __init__(
        self, directory: Path | None, every: float, group: Group, agreement: Agreement, legs: Legs, record: Record
    ) -> None:
        self._store = Store(directory / "checkpoints") if directory else None
        self._every, self._group, self._agreement, self._legs, self._record = every, group, agreement, legs, record
        self._saved = 0.0  # seconds of training at the last checkpoint

    @property
    def due(self) -> bool:
        return self._store is not None and self._record.train_seconds - self._saved >= self._every

    def newest(self) -> Tag | None:
        """Collective: the newest checkpoint that the first process sees."""
        newest = (self._store.newest() if self._store else None) or _NONE
        rows = self._group.exchange(np.array(newest, np.int64).tobytes())
        tag = Tag(*np.frombuffer(rows[0], np.int64).tolist())
        return None if tag == _NONE else tag

    def load(self, tag: Tag, vectors: np.ndarray) -> Progress:
        """This process's part: the replica into `vectors`, and the private states of its workers."""
        assert self._store
        progress, record = self._store.load_replica(tag, vectors)
        self._record.restore(record)
        self._saved = self._record.train_seconds
        for mine in self._legs.workers.values():
            self._store.load_worker(tag, mine)
        return progress

    def save(self, replica: Replica, done: int) -> None:
        """Collective. `done`: steps that all workers together have taken in this round. A replica that is not finite
        is never saved: Diverged."""
        if self._store is None:
            return
        check_finite(replica)
        store, tag = self._store, Tag(replica.progress.round, done)

        def write() -> None:
            for mine in self._legs.workers.values():
                store.write_worker(tag, mine)
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
