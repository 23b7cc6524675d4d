"""The files of checkpoints: the replica, the state of every worker, the progress. Nothing is pickled.

A checkpoint is a directory that is written under another name and renamed when all processes have written their part:
a directory with a checkpoint's name is complete.
"""

import contextlib
import json
import os
import re
import shutil
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple, final

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import load_file

from psgd.core.errors import StorageError
from psgd.core.replica import Progress, Replica
from psgd.core.safetensors_file import sync, write_arrays
from psgd.core.worker_state import WorkerState

FORMAT = 2
KEPT_CHECKPOINTS = 2  # the newest ones; older ones are removed


class CheckpointTag(NamedTuple):
    """When it was taken: the round, and the steps that all workers together had taken in it."""

    round: int
    steps_done: int

    @property
    def name(self) -> str:
        return f"{self.round:09d}-{self.steps_done:09d}"


@final
class CheckpointFiles:
    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def newest(self) -> CheckpointTag | None:
        tags = self._tags()
        return tags[-1] if tags else None

    def write_worker(self, tag: CheckpointTag, worker: WorkerState) -> None:
        arrays = {
            "moments": worker.moments,
            "counts": np.array([worker.moment_steps, worker.steps_done], np.int64),
            "loss": np.array([worker.loss]),
        }
        if worker.steps_done:
            arrays["out"] = worker.contribution
        self._write(tag, f"worker-{worker.number:05d}", arrays)

    def write_replica(self, tag: CheckpointTag, replica: Replica) -> None:
        self._write(tag, "replica", {"vectors": replica.vectors})

    def complete(self, tag: CheckpointTag, replica: Replica, record: dict[str, Any]) -> None:
        """Complete what all processes have written, and make it the newest checkpoint."""
        meta = {"format": FORMAT, "progress": replica.progress._asdict(), "record": record}
        partial, final = self._partial(tag), self._directory / tag.name
        try:
            with open(partial / "checkpoint.json", "w", encoding="utf-8") as file:
                json.dump(meta, file, indent=1)
                file.flush()
                os.fsync(file.fileno())
            if final.exists():  # the same state, saved before the loop stepped back
                self._retire(final)
            os.rename(partial, final)
            sync(self._directory)
            for old in self._tags()[:-KEPT_CHECKPOINTS]:
                self._retire(self._directory / old.name)
            for left in self._directory.glob(".partial-*"):
                shutil.rmtree(left)
        except OSError as error:
            raise StorageError(f"cannot write the checkpoint {final}: {error.strerror}") from None

    def load_replica(self, tag: CheckpointTag, vectors: np.ndarray) -> tuple[Progress, dict[str, Any]]:
        """Fill `vectors` (1 + rows, P); return the progress, and the record given to `complete`."""
        with self._readable(tag):
            vectors[:] = self._read(tag, "replica")["vectors"].reshape(vectors.shape)
            meta = self._meta(tag)
            progress = meta["progress"]
            for name in ("dealt", "worker_steps", "last_weights"):
                progress[name] = tuple(progress[name])
            return Progress(**progress), meta["record"]

    def load_worker(self, tag: CheckpointTag, worker: WorkerState) -> None:
        with self._readable(tag):
            arrays = self._read(tag, f"worker-{worker.number:05d}")
            worker.moments[:] = arrays["moments"].reshape(worker.moments.shape)
            worker.moment_steps, worker.steps_done = (int(n) for n in arrays["counts"])
            worker.loss = float(arrays["loss"][0])
            if worker.steps_done:
                worker.contribution[:] = arrays["out"].reshape(worker.contribution.shape)

    @contextlib.contextmanager
    def _readable(self, tag: CheckpointTag) -> Iterator[None]:
        """StorageError, which names the checkpoint and the one before it, if it cannot be read."""
        try:
            yield
        except (OSError, SafetensorError, ValueError, KeyError, TypeError, AttributeError) as error:
            older = [each for each in self._tags() if each < tag]
            advice = f"; remove it to go on from {older[-1].name}" if older else ""
            place = self._directory / tag.name
            raise StorageError(f"the checkpoint {place} cannot be read ({_reason(error)}){advice}") from None

    def _retire(self, path: Path) -> None:
        """Rename a checkpoint; its files are removed later. While it has its name, it must be complete."""
        left = self._directory / f".partial-old-{path.name}"
        shutil.rmtree(left, ignore_errors=True)
        os.rename(path, left)

    def _tags(self) -> list[CheckpointTag]:
        found = self._directory.glob("*-*") if self._directory.is_dir() else ()
        names = (re.fullmatch(r"(\d{9,})-(\d{9,})", path.name) for path in found)
        return sorted(CheckpointTag(int(m[1]), int(m[2])) for m in names if m)

    def _partial(self, tag: CheckpointTag) -> Path:
        return self._directory / f".partial-{tag.name}"

    def _write(self, tag: CheckpointTag, name: str, arrays: dict[str, np.ndarray]) -> None:
        path = self._partial(tag) / f"{name}.safetensors"
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            write_arrays(path, arrays, {"crc32": str(_crc32(arrays))})
        except (OSError, SafetensorError) as error:
            raise StorageError(f"cannot write the checkpoint {path}: {_reason(error)}") from None

    def _read(self, tag: CheckpointTag, name: str) -> dict[str, np.ndarray]:
        path = self._directory / tag.name / f"{name}.safetensors"
        arrays = load_file(path)
        with safe_open(path, "np") as file:
            said = (file.metadata() or {}).get("crc32")
        if said != str(_crc32(arrays)):
            raise ValueError(f"{path.name}: its checksum is wrong")
        return arrays

    def _meta(self, tag: CheckpointTag) -> dict[str, Any]:
        meta: dict[str, Any] = json.loads((self._directory / tag.name / "checkpoint.json").read_text("utf-8"))
        if meta["format"] != FORMAT:
            raise ValueError(f"checkpoint.json: format {meta['format']}; this psgd reads format {FORMAT}")
        return meta


def _crc32(arrays: dict[str, np.ndarray]) -> int:
    total = 0
    for name in sorted(arrays):
        total = zlib.crc32(np.ascontiguousarray(arrays[name]).data.cast("B") if arrays[name].size else b"", total)
    return total


def _reason(error: Exception) -> str:
    if isinstance(error, KeyError):
        return f"{error.args[0]} is missing"
    return (error.strerror if isinstance(error, OSError) else None) or str(error)
