"""Run directories: always new, never overwritten silently, resumed only by the experiment that began them."""

import fcntl
import os
import re
import shutil
from pathlib import Path
from typing import Any

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


def fresh(base: str) -> Path:
    """Make the next numbered directory: runs/mnist-001, runs/mnist-002, ..."""
    last = max((number for number, _ in _numbered(base)), default=0)
    while True:
        last += 1
        path = Path(f"{base}-{last:03d}")
        try:
            path.mkdir(parents=True)
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
    """Make `path`, which must be new or empty, or with `overwrite` an earlier run, whose files are removed. UsageError
    if it is neither, StorageError if it cannot be made or emptied."""
    try:
        if path.exists() and not path.is_dir():
            raise UsageError(f"{path} is a file; a run needs a directory that is new or empty")
        if path.exists() and any(path.iterdir()):
            if not overwrite:
                raise UsageError(
                    f"{path} exists and is not empty; continue it with --resume, replace it with --overwrite"
                )
            if not (path / "config.yaml").is_file():
                raise UsageError(f"{path} is not a run of psgd (it has no config.yaml), so it is not overwritten")
            for name in WRITTEN:
                if (path / name).is_dir():
                    shutil.rmtree(path / name)
                else:
                    (path / name).unlink(missing_ok=True)
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StorageError(f"cannot use {path} as run directory: {error.strerror}") from None
    return path


def lock(path: Path) -> None:
    """Lock the run directory until this process ends. UsageError if another process has locked it."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise UsageError(f"another psgd is at work in {path}; wait for it or choose another --output") from None
    except OSError:
        return  # a file system without locks


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
    siblings = root.parent.iterdir() if root.parent.is_dir() else ()
    return [(int(match[1]), path) for path in siblings if (match := pattern.fullmatch(path.name))]


def _flat(settings: Settings) -> dict[str, Any]:
    """All settings by their full names."""
    flat: dict[str, Any] = {}
    for key, value in settings.model_dump().items():
        flat |= {f"{key}.{k}": v for k, v in value.items()} if isinstance(value, dict) else {key: value}
    return flat
