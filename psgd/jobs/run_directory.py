"""Run directories: always new, never overwritten silently, resumed only by the experiment that began them."""

import fcntl
import os
import re
import shutil
from pathlib import Path
from typing import Any

from psgd.config.resolve import resolve
from psgd.config.settings import Settings
from psgd.core.errors import StorageError, UsageError

# Settings that may change when a run is resumed, because the training up to there does not depend on them.
FREE = {
    "group",
    "output",
    "device",
    "compile",
    "data.path",
    "cluster.patience",
    "cluster.processes",
    "training.epochs",
    "training.target",
    "training.checkpoint_seconds",
}
WRITTEN = ("config.yaml", "environment.json", "metrics.jsonl", "summary.json", "model.safetensors", "checkpoints")
PARTIAL = ".config.yaml.partial"  # what a run leaves that is killed while it writes its first file
CHECKPOINT = re.compile(r"\d{9,}-\d{9,}|\.partial-.*")  # directories of finished and unfinished checkpoints


def fresh(base: str) -> Path:
    """Make and lock the next numbered directory: runs/mnist-001, runs/mnist-002, ..."""
    last = max((number for number, _ in _numbered(base)), default=0)
    while True:
        last += 1
        path = Path(f"{Path(base)}-{last:03d}")
        try:
            path.mkdir(parents=True)
            lock(path)
            return path
        except FileExistsError:
            continue  # another process has just made it
        except OSError as error:
            raise StorageError(f"cannot make the run directory {path}: {error.strerror}; set output") from None


def latest(base: str) -> Path:
    """Find the newest numbered directory of `base`. UsageError if there is none."""
    found = sorted(_numbered(base))
    if not found:
        raise UsageError(f"nothing to resume: there is no {base}-001; name the run with --output DIR")
    return found[-1][1]


def exact(path: Path, overwrite: bool) -> Path:
    """Make and lock `path`, which must be new or empty, or with `overwrite` an earlier run, whose files are removed.
    UsageError if it is neither or another psgd is at work there, StorageError if it cannot be made or emptied."""
    try:
        if path.exists() and not path.is_dir():
            raise UsageError(f"{path} is a file; a run needs a directory that is new or empty")
        path.mkdir(parents=True, exist_ok=True)
        lock(path)  # before anything is removed
        if any(each.name != PARTIAL for each in path.iterdir()):
            if not overwrite:
                raise UsageError(
                    f"{path} exists and is not empty; continue it with --resume, replace it with --overwrite"
                )
            _check_is_run(path)
            for name in WRITTEN:
                if (path / name).is_dir():
                    _remove_checkpoints(path / name)
                else:
                    (path / name).unlink(missing_ok=True)
    except OSError as error:
        raise StorageError(f"cannot use {path} as run directory: {error.strerror}") from None
    return path


def _check_is_run(path: Path) -> None:
    """UsageError unless the config.yaml in `path` is one of psgd's: other programs have files of that name, too."""
    config = path / "config.yaml"
    try:
        if not config.is_file():
            raise UsageError("it has no config.yaml")
        resolve(str(config), [])
    except UsageError as error:
        raise UsageError(f"{path} is not a run of psgd, so it is not overwritten: {error}") from None


def _remove_checkpoints(directory: Path) -> None:
    """Remove what psgd wrote, and the directory if nothing else is there."""
    for each in directory.iterdir():
        if CHECKPOINT.fullmatch(each.name):
            shutil.rmtree(each)
    if not any(directory.iterdir()):
        directory.rmdir()


def lock(path: Path) -> None:
    """Lock the run directory until this process ends. UsageError if another process has locked it."""
    try:
        descriptor = os.open(path, os.O_RDONLY)
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise UsageError(f"another psgd is at work in {path}; wait for it or choose another --output") from None
    except PermissionError as error:
        raise StorageError(f"cannot use {path} as run directory: {error.strerror}") from None
    except OSError:
        return  # a file system without locks


def check_can_resume(path: Path) -> None:
    """UsageError for a run that has ended, but whose checkpoints were deleted: resumed, it would begin anew."""
    checkpoints = path / "checkpoints"
    kept = checkpoints.is_dir() and any(CHECKPOINT.fullmatch(each.name) for each in checkpoints.iterdir())
    if not kept and (path / "summary.json").exists():
        raise UsageError(
            f"{path} has no checkpoint to go on from, though its run has ended; train anew in another directory, or "
            "with --overwrite instead of --resume"
        )


def check_continues(path: Path, before: Settings, now: Settings) -> None:
    """UsageError unless the settings `now` are those of the experiment that began the run in `path`."""
    old, new = _flat(before), _flat(now)
    free = set(FREE)
    if now.optimizer.schedule == "cosine" or (now.averaging and now.averaging.period == "end"):
        free.discard("training.epochs")  # all of the training depends on the number of epochs
    differing = [
        f"{key}: {old.get(key)!r} there, {new.get(key)!r} here"
        for key in sorted(old.keys() | new.keys())
        if key not in free and old.get(key) != new.get(key)
    ]
    if differing:
        raise UsageError(
            f"{path} was begun by another experiment and cannot be resumed by this one: " + "; ".join(differing)
        )


def _numbered(base: str) -> list[tuple[int, Path]]:
    root = Path(base)
    pattern = re.compile(re.escape(root.name) + r"-(\d{3,})")
    try:
        siblings = list(root.parent.iterdir()) if root.parent.is_dir() else []
    except OSError as error:
        raise StorageError(f"{root.parent}: cannot be read: {error.strerror}") from None
    return [(int(match[1]), path) for path in siblings if (match := pattern.fullmatch(path.name))]


def _flat(settings: Settings) -> dict[str, Any]:
    """All settings by their full names."""
    flat: dict[str, Any] = {}
    for key, value in settings.model_dump().items():
        flat |= {f"{key}.{k}": v for k, v in value.items()} if isinstance(value, dict) else {key: value}
    return flat
