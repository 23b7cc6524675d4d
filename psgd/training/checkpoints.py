"""Checkpoints as a collective act: every process writes its workers, the first one also the replica."""

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple, final

import numpy as np

from psgd.core.errors import ProcessLost, PsgdError, StorageError
from psgd.core.log import LOG
from psgd.core.replica import Progress, Replica
from psgd.group.failure import Agreement
from psgd.group.group import Group
from psgd.training.checkpoint_files import REPLICA, CheckpointFiles, CheckpointTag, Damaged, worker_part
from psgd.training.early_stop import EarlyStop
from psgd.training.finite import check_replica_finite
from psgd.training.recorder import Recorder
from psgd.training.steps.local_steps import LocalSteps
from psgd.training.stopwatch import Stopwatch

_NONE = CheckpointTag(-1, 0)
_REASON_BYTES = 200  # of a message about damage that processes exchange


class Restored(NamedTuple):
    progress: Progress
    record: dict[str, Any]  # what the recorder, the stopwatch and the early stop had, and the last scores


class Saving(NamedTuple):
    """Where the checkpoints of a training are saved, how often, and what they say about it."""

    directory: Path
    seconds: float = 60.0  # of training between two checkpoints
    experiment: Callable[[], Any] = lambda: None  # what is trained, on which data; for the first process to save


@final
class Checkpoints:
    """Without `saving` nothing is saved, and there is nothing to resume from."""

    def __init__(
        self,
        saving: Saving | None,
        group: Group,
        agreement: Agreement,
        local_steps: LocalSteps,
        early_stop: EarlyStop,
        recorder: Recorder,
        stopwatch: Stopwatch,
    ) -> None:
        self._files = CheckpointFiles(saving.directory) if saving else None
        self._seconds = saving.seconds if saving else math.inf
        self._experiment = saving.experiment if saving else lambda: None
        self._group, self._agreement = group, agreement
        self._local_steps, self._early_stop = local_steps, early_stop
        self._recorder, self._stopwatch = recorder, stopwatch
        self._saved = 0.0  # seconds of training at the last checkpoint

    @property
    def due(self) -> bool:
        return self._stopwatch.train_seconds - self._saved >= self._seconds

    def load(self, vectors: np.ndarray) -> Restored | None:
        """Collective: read the newest checkpoint, each process its part: the replica into `vectors`, the states of its
        workers, the time so far. None if there is no checkpoint. A damaged one is set aside with a warning, and the one
        before it is read; StorageError if there is none."""
        while self._files:
            newest, older = self._newest()
            if newest is None:
                return None
            restored, damage = self._read(self._files, newest, vectors)
            rows = self._group.all_gather(damage.encode()[:_REASON_BYTES].ljust(_REASON_BYTES))
            damages = {row.decode(errors="ignore").strip() for row in rows} - {""}
            if not damages:
                if self._group.first and self._files.about(newest)["experiment"] != self._experiment():
                    self._saved = -math.inf  # so that a checkpoint of what is trained now is written at once
                return restored
            self._set_aside(self._files, newest, older, ", ".join(sorted(damages)))
        return None

    def _newest(self) -> tuple[CheckpointTag | None, CheckpointTag | None]:
        """Collective: the two newest checkpoints that the first process sees."""
        assert self._files
        found = self._agreement.together(self._files.tags if self._group.first else list)
        rows = self._group.all_gather(np.array([*found, _NONE, _NONE][:2], np.int64).tobytes())
        newest, older = (CheckpointTag(*tag) for tag in np.frombuffer(rows[0], np.int64).reshape(2, 2).tolist())
        return None if newest == _NONE else newest, None if older == _NONE else older

    def _read(self, files: CheckpointFiles, tag: CheckpointTag, vectors: np.ndarray) -> tuple[Restored | None, str]:
        """Collective: what this process restored, or what is damaged. Other failures end all processes."""

        def read() -> tuple[Restored | None, str]:
            try:
                about = files.about(tag)
                record = about["record"]
                best = self._early_stop.parameters if self._early_stop.restore(record) else None
                progress = files.load_replica(tag, about, vectors, best)
                for worker in self._local_steps.workers.values():
                    files.load_worker(tag, about, worker)
                self._local_steps.restored()
            except Damaged as damage:
                return None, str(damage)
            self._stopwatch.restore(record["seconds"])
            self._saved = self._stopwatch.train_seconds
            return Restored(progress, record), ""

        return self._agreement.together(read)

    def _set_aside(
        self, files: CheckpointFiles, damaged: CheckpointTag, older: CheckpointTag | None, reason: str
    ) -> None:
        """Collective: rename a damaged checkpoint, if there is an older one to go on from."""

        def act() -> None:
            path = files.directory / damaged.name
            if older is None:
                raise StorageError(
                    f"the checkpoint {path} is damaged ({reason}), and there is none before it; train anew in another "
                    "directory, or with --overwrite instead of --resume"
                )
            if self._group.first:
                kept = files.set_aside(damaged)
                LOG.warning(
                    "psgd: warning: the checkpoint %s is damaged (%s); it is kept as %s, and training goes on from the "
                    "one before, %s", path, reason, kept.name, older.name,
                )  # fmt: skip

        self._agreement.together(act)

    def save(self, replica: Replica, steps_done: int, scores: dict[str, float]) -> None:
        """Collective. `steps_done`: by all workers together in this round; `scores`: of the last evaluation. Diverged
        if the replica is not finite, which is never saved."""
        if self._files is None:
            return
        check_replica_finite(replica)
        files, tag = self._files, CheckpointTag(replica.progress.round, steps_done)
        try:
            self._save(files, tag, replica, scores)
        except PsgdError as error:
            if self._group.first and not isinstance(error, ProcessLost):  # then the survivors go on
                files.discard(tag)
            raise
        self._saved = self._stopwatch.train_seconds

    def _save(self, files: CheckpointFiles, tag: CheckpointTag, replica: Replica, scores: dict[str, float]) -> None:
        workers, early_stop = replica.progress.dealt, self._early_stop
        checksums = np.zeros(1 + len(workers), np.int64)  # of the replica and of each worker; 0 where not written here

        def write() -> None:
            self._local_steps.fetch()
            for number, worker in self._local_steps.workers.items():
                checksums[1 + number] = files.write_worker(tag, worker)
            if self._group.first:
                checksums[0] = files.write_replica(tag, replica, early_stop.parameters if early_stop.best else None)

        def complete() -> None:
            self._recorder.flush()  # a resumed run finds the metrics up to here
            if self._group.first:
                names = [REPLICA, *(worker_part(number) for number in range(len(workers)))]
                parts = dict(zip(names, np.max(rows, axis=0).tolist(), strict=True))
                record = {"seconds": self._stopwatch.seconds, "last_score": scores}
                record |= self._recorder.state() | early_stop.state()
                files.complete(tag, replica.progress, parts, record, self._experiment())

        self._agreement.together(write)
        rows = [np.frombuffer(row, np.int64) for row in self._group.all_gather(checksums.tobytes())]
        self._agreement.together(complete)
