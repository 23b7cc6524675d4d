"""Checkpoints as a collective act: every process writes its workers, the first one also the replica."""

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
from psgd.training.stopwatch import Stopwatch

_NONE = CheckpointTag(-1, 0)


@final
class Checkpoints:
    """Without a directory nothing is saved, and there is nothing to resume from."""

    def __init__(
        self,
        directory: Path | None,
        every: float,
        group: Group,
        agreement: Agreement,
        local_steps: LocalSteps,
        recorder: Recorder,
        stopwatch: Stopwatch,
    ) -> None:
        """`every`: seconds of training between two checkpoints."""
        self._files = CheckpointFiles(directory / "checkpoints") if directory else None
        self._every, self._group, self._agreement = every, group, agreement
        self._local_steps, self._recorder, self._stopwatch = local_steps, recorder, stopwatch
        self._saved = 0.0  # seconds of training at the last checkpoint

    @property
    def due(self) -> bool:
        return self._files is not None and self._stopwatch.train_seconds - self._saved >= self._every

    def newest(self) -> CheckpointTag | None:
        """Collective: the newest checkpoint that the first process sees."""
        newest = (self._files.newest() if self._files else None) or _NONE
        rows = self._group.all_gather(np.array(newest, np.int64).tobytes())
        tag = CheckpointTag(*np.frombuffer(rows[0], np.int64).tolist())
        return None if tag == _NONE else tag

    def load(self, tag: CheckpointTag, vectors: np.ndarray) -> tuple[Progress, dict[str, float]]:
        """Read this process's part: the replica into `vectors`, the states of its workers, the time taken so far. The
        progress, and the last scores."""
        assert self._files
        progress, record = self._files.load_replica(tag, vectors)
        self._recorder.restore(record)
        self._stopwatch.restore(record["seconds"])
        self._saved = self._stopwatch.train_seconds
        for worker in self._local_steps.workers.values():
            self._files.load_worker(tag, worker)
        return progress, dict(record["last_score"])

    def save(self, replica: Replica, steps_done: int, scores: dict[str, float]) -> None:
        """Collective. `steps_done`: by all workers together in this round; `scores`: of the last evaluation. Diverged
        if the replica is not finite, which is never saved."""
        if self._files is None:
            return
        check_finite(replica)
        files, tag = self._files, CheckpointTag(replica.progress.round, steps_done)

        def write() -> None:
            for worker in self._local_steps.workers.values():
                files.write_worker(tag, worker)
            if self._group.first:
                files.write_replica(tag, replica)

        def complete() -> None:
            self._recorder.flush()  # a resumed run finds the metrics up to here
            record: dict[str, Any] = {"seconds": self._stopwatch.seconds, "last_score": scores}
            if self._group.first:
                files.complete(tag, replica, record | self._recorder.state())

        self._agreement.together(write)
        self._agreement.together(complete)
        self._saved = self._stopwatch.train_seconds


def check_finite(replica: Replica) -> None:
    """Diverged if a combination of finite contributions is not finite."""
    if not np.isfinite(replica.vectors).all():
        raise Diverged(f"round {replica.progress.round}: the combined parameters are not finite; they were not saved")
