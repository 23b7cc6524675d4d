"""The files of checkpoints: the replica, the state of every worker, the progress, and what was trained on which data.

A checkpoint is a directory that is written under another name and renamed when all processes have written their part:
a directory with a checkpoint's name is complete. Its checkpoint.json has a checksum of every part and one of itself,
so that damage is noticed, and so are parts of another worker, checkpoint or run. Nothing is pickled.
"""

import contextlib
import json
import os
import re
import shutil
import zlib
from pathlib import Path
from typing import Any, NamedTuple, final

import numpy as np
from safetensors import SafetensorError

from psgd.core.errors import StorageError
from psgd.core.replica import Progress, Replica
from psgd.core.safetensors_file import read_arrays, sync, write_arrays
from psgd.core.version import __version__
from psgd.core.worker_state import WorkerState

FORMAT = 3
KEPT_CHECKPOINTS = 2  # the newest ones; older ones are removed
REPLICA = "replica"  # the name of its part
_CHECKPOINT = re.compile(r"(\d{9,})-(\d{9,})")
_PARTIAL = re.compile(rf"\.partial-(old-)?{_CHECKPOINT.pattern}")
_DAMAGED = re.compile(rf"damaged-{_CHECKPOINT.pattern}(\.\d+)?")
_FILE = re.compile(r"(replica|worker-\d{5,})\.safetensors|checkpoint\.json")


class CheckpointTag(NamedTuple):
    """When it was taken: the round, and the steps that all workers together had taken in it."""

    round: int
    steps_done: int

    @property
    def name(self) -> str:
        return f"{self.round:09d}-{self.steps_done:09d}"


class Damaged(Exception):
    """A checkpoint of which a file is missing, cut short or altered, or belongs to another checkpoint."""


@final
class CheckpointFiles:
    def __init__(self, directory: Path) -> None:
        """`directory`: of the run. If it is not there yet, as on another host, it is made when it is needed."""
        self.directory = directory / "checkpoints"
        self._there = directory.is_dir()

    def tags(self) -> list[CheckpointTag]:
        """All complete checkpoints, the newest first. StorageError if the directory cannot be read."""
        try:
            found = []
            for path in self.directory.iterdir() if self.directory.is_dir() else ():
                match = _CHECKPOINT.fullmatch(path.name)
                # After --overwrite, the directory of a checkpoint stays if there are other files in it.
                if match and path.is_dir() and any(_FILE.fullmatch(each.name) for each in path.iterdir()):
                    found.append(CheckpointTag(int(match[1]), int(match[2])))
        except OSError as error:
            raise StorageError(f"{self.directory}: cannot be read: {error.strerror}") from None
        return sorted(found, reverse=True)

    def write_worker(self, tag: CheckpointTag, worker: WorkerState) -> int:
        """Write the part of a worker and return its checksum."""
        arrays = {
            "moments": worker.moments,
            "counts": np.array([worker.moment_steps, worker.steps_done], np.int64),
            "loss": np.array([worker.loss]),
        }
        if worker.steps_done:
            arrays["out"] = worker.contribution
        return self._write(tag, worker_part(worker.number), arrays)

    def write_replica(self, tag: CheckpointTag, replica: Replica, best: np.ndarray | None = None) -> int:
        """Write the part of the replica and return its checksum. `best`: parameters to be kept beside it."""
        arrays = {"vectors": replica.vectors}
        return self._write(tag, REPLICA, arrays if best is None else {**arrays, "best": best})

    def complete(
        self, tag: CheckpointTag, progress: Progress, parts: dict[str, int], record: dict[str, Any], experiment: Any
    ) -> None:
        """Complete what all processes have written, and make it the newest checkpoint. `parts`: checksums by name;
        `record`: what the training restores besides; `experiment`: settings and data, for `about`."""
        content = {
            "format": FORMAT,
            "psgd": __version__,
            "name": tag.name,
            "experiment": experiment,
            "progress": progress._asdict(),
            "record": record,
            "parts": parts,
        }
        partial, final = self._partial(tag), self.directory / tag.name
        try:
            with open(partial / "checkpoint.json", "w", encoding="utf-8") as file:
                json.dump({**content, "checksum": _checksum(content)}, file, indent=1)
                file.flush()
                os.fsync(file.fileno())
            if final.exists():  # the same state, saved before the loop stepped back
                for name in _foreign(final):
                    shutil.copy2(final / name, partial / name)
                self._retire(final)
            os.rename(partial, final)
            sync(self.directory)
            for old in [older for older in self.tags() if older < tag][KEPT_CHECKPOINTS - 1 :]:
                if not _foreign(self.directory / old.name):
                    self._retire(self.directory / old.name)
            for left in self.directory.iterdir():
                if _PARTIAL.fullmatch(left.name):
                    _remove(left)
        except OSError as error:
            raise StorageError(f"cannot write the checkpoint {final}: {error.strerror}") from None

    def discard(self, tag: CheckpointTag) -> None:
        """Remove what was written of a checkpoint that cannot be completed, as on a full disk."""
        with contextlib.suppress(OSError):
            _remove(self._partial(tag))

    def about(self, tag: CheckpointTag) -> dict[str, Any]:
        """The contents of checkpoint.json. Damaged if it was altered, StorageError if it has another format or cannot
        be opened."""
        path = self.directory / tag.name / "checkpoint.json"
        with _found(path):
            try:
                content = json.loads(path.read_text("utf-8"))
                checksum = content.pop("checksum", None)
                form = content["format"]
            except (ValueError, KeyError, AttributeError, TypeError):
                raise Damaged("checkpoint.json is not as it was written") from None
        if checksum != _checksum(content) and (checksum is not None or form == FORMAT):
            raise Damaged("the checksum of checkpoint.json is wrong")
        if form != FORMAT:
            raise StorageError(
                f"{path.parent}: another version of psgd ({content.get('psgd', 'an older one')}) wrote this "
                f"checkpoint, in format {form}; this one ({__version__}) reads format {FORMAT}: resume with that one"
            )
        if (name := content.get("name", tag.name)) != tag.name:
            raise Damaged(f"it is a copy of the checkpoint {name}, or that one under another name")
        return dict(content)

    def load_replica(
        self, tag: CheckpointTag, about: dict[str, Any], vectors: np.ndarray, best: np.ndarray | None = None
    ) -> Progress:
        """Fill `vectors` (1 + rows, P), and `best` (P,) with the parameters that were kept beside them. Return the
        progress; `about` as `about` returns it."""
        arrays = self._read(tag, REPLICA, about["parts"])
        self._fill(tag, vectors, arrays["vectors"])
        if best is not None:
            self._fill(tag, best, arrays["best"])
        lists = {name: tuple(about["progress"][name]) for name in ("dealt", "worker_steps", "last_weights")}
        return Progress(**{**about["progress"], **lists})

    def load_worker(self, tag: CheckpointTag, about: dict[str, Any], worker: WorkerState) -> None:
        arrays = self._read(tag, worker_part(worker.number), about["parts"])
        self._fill(tag, worker.moments, arrays["moments"])
        worker.moment_steps, worker.steps_done = (int(n) for n in arrays["counts"])
        worker.loss = float(arrays["loss"][0])
        if worker.steps_done:
            self._fill(tag, worker.contribution, arrays["out"])

    def set_aside(self, tag: CheckpointTag) -> Path:
        """Rename a damaged checkpoint, which is kept, so that it is not a checkpoint any more."""
        path, kept = self.directory / tag.name, self.directory / f"damaged-{tag.name}"
        earlier = len(list(self.directory.glob(f"{kept.name}*")))
        try:
            return path.rename(f"{kept}.{earlier + 1}" if earlier else kept)
        except OSError as error:
            raise StorageError(f"the checkpoint {path} is damaged and cannot be renamed: {error.strerror}") from None

    def _fill(self, tag: CheckpointTag, here: np.ndarray, stored: np.ndarray) -> None:
        if here.shape != stored.shape or here.dtype != stored.dtype:
            raise StorageError(
                f"the checkpoint {self.directory / tag.name} has vectors {stored.dtype} {stored.shape}, but this job "
                f"needs {here.dtype} {here.shape}: it is of another network, or of data with other columns"
            )
        here[:] = stored

    def _retire(self, path: Path) -> None:
        """Rename a checkpoint; its files are removed later. While it has its name, it must be complete."""
        left = self.directory / f".partial-old-{path.name}"
        if left.exists():
            _remove(left)
        os.rename(path, left)

    def _partial(self, tag: CheckpointTag) -> Path:
        return self.directory / f".partial-{tag.name}"

    def _write(self, tag: CheckpointTag, name: str, arrays: dict[str, np.ndarray]) -> int:
        path = self._partial(tag) / f"{name}.safetensors"
        try:
            # A run directory that was removed or moved is not made again: it would lack the rest of the run.
            self.directory.mkdir(parents=not self._there, exist_ok=True)
            path.parent.mkdir(exist_ok=True)
            write_arrays(path, arrays)
        except (OSError, SafetensorError) as error:
            reason = (error.strerror if isinstance(error, OSError) else None) or str(error)
            raise StorageError(f"cannot write the checkpoint {path}: {reason}") from None
        return _crc32(arrays)

    def _read(self, tag: CheckpointTag, name: str, parts: dict[str, int]) -> dict[str, np.ndarray]:
        path = self.directory / tag.name / f"{name}.safetensors"
        if name not in parts:
            raise Damaged(f"it has no {name}")
        with _found(path):
            try:
                arrays = read_arrays(path)
            except ValueError:
                raise Damaged(f"{path.name} is not as it was written") from None
        if parts[name] != _crc32(arrays):
            raise Damaged(f"the checksum of {path.name} is not the one in checkpoint.json")
        return arrays


def remove_checkpoints(directory: Path) -> None:
    """Remove all checkpoints of the run in `directory`, also unfinished and damaged ones, and nothing that psgd did not
    write. OSError if that fails."""
    checkpoints = directory / "checkpoints"
    for path in checkpoints.iterdir() if checkpoints.is_dir() else ():
        if any(name.fullmatch(path.name) for name in (_CHECKPOINT, _PARTIAL, _DAMAGED)):
            _remove(path)
    if checkpoints.is_dir() and not checkpoints.is_symlink() and not any(checkpoints.iterdir()):
        checkpoints.rmdir()


def _foreign(path: Path) -> list[str]:
    """The names in the directory of a checkpoint that are not its files."""
    return [each.name for each in path.iterdir() if not _FILE.fullmatch(each.name)]


def _remove(path: Path) -> None:
    """Remove the directory of a checkpoint, except for files that psgd did not write."""
    if path.is_symlink():
        path.unlink()
    elif path.is_dir():
        for each in path.iterdir():
            if _FILE.fullmatch(each.name) and not each.is_dir():
                each.unlink()
        if not _foreign(path):
            path.rmdir()


def worker_part(number: int) -> str:
    return f"worker-{number:05d}"


@contextlib.contextmanager
def _found(path: Path) -> Any:
    """Damaged if a file of a checkpoint is missing. What else prevents reading says nothing about what is stored."""
    try:
        if not path.is_file():
            raise Damaged(f"{path.name} is missing")
        yield
    except OSError as error:
        raise StorageError(f"{path}: cannot be read: {error.strerror or error}") from None


def _checksum(content: Any) -> int:
    return zlib.crc32(json.dumps(content, sort_keys=True).encode())


def _crc32(arrays: dict[str, np.ndarray]) -> int:
    total = 0
    for name, array in sorted(arrays.items()):
        total = zlib.crc32(f"{name} {array.dtype.str} {array.shape}".encode(), total)
        total = zlib.crc32(np.ascontiguousarray(array).data.cast("B") if array.size else b"", total)
    return total
