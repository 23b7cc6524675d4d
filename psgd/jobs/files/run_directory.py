"""Run directories: always new, never overwritten silently, resumed only by the experiment that began them."""

import os
import re
from contextlib import suppress
from pathlib import Path

from psgd.config.document import read_file
from psgd.config.names import SECTIONS
from psgd.config.resolve import resolve
from psgd.core.errors import StorageError, UsageError
from psgd.core.files import refuse_non_directory
from psgd.jobs.files.locks import lock, unlocked_on_failure
from psgd.jobs.trackers import tensorboard
from psgd.training.checkpoint_files import remove_checkpoints

PARTIAL = ".config.yaml.partial"  # what a run leaves that is killed while it writes its first file
# The files that psgd writes in a run directory, also those of an earlier beginning, and those that are being written.
WRITTEN = re.compile(
    r"config\.until-round-\d+\.yaml|metrics\.before-\d+\.jsonl|"
    r"\.?(config\.yaml|environment\.json|metrics\.jsonl|summary\.json|model\.safetensors|mlflow\.json)(\.partial)?"
)


def fresh(base: str) -> Path:
    """Make and lock the next numbered directory: runs/mnist-001, runs/mnist-002, ..."""
    root = _root(base)
    last = max((number for number, _ in _numbered(root)), default=0)
    try:
        root.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:  # also where there is a link to nothing
        raise _unmade(Path(f"{root}-{last + 1:03d}"), error) from None
    while True:
        last += 1
        path = Path(f"{root}-{last:03d}")
        try:
            path.mkdir()
            lock(path)
            return path
        except FileExistsError:
            continue  # another process has just made it
        except OSError as error:
            raise _unmade(path, error) from None


def _unmade(path: Path, error: OSError) -> StorageError:
    return StorageError(f"cannot make the run directory {path}: {error.strerror}; set output")


def latest(base: str) -> Path:
    """Find the newest numbered directory of `base`. UsageError if there is none."""
    root = _root(base)
    found = sorted(_numbered(root))
    if not found:
        raise UsageError(f"nothing to resume: there is no {root}-001; name the run with --output DIR")
    return found[-1][1]


def exact(path: Path, overwrite: bool) -> Path:
    """Make and lock `path`, which must be new or empty, or with `overwrite` an earlier run, whose files are removed.
    UsageError if it is neither or another psgd is at work there, StorageError if it cannot be made or emptied."""
    try:
        refuse_non_directory(path, "a run")
        path.mkdir(parents=True, exist_ok=True)
        lock(path)  # before anything is removed
        with unlocked_on_failure(path):
            if not is_empty(path):
                if not overwrite:
                    raise UsageError(
                        f"{path} exists and is not empty; continue it with --resume, replace it with --overwrite"
                    )
                _check_is_run(path)
                remove_run(path)
    except OSError as error:
        raise StorageError(f"cannot use {path} as run directory: {error.strerror}") from None
    return path


def is_new(path: Path) -> bool:
    """Whether a run can begin in `path`: there is no such directory, or an empty one."""
    return not path.exists() or (path.is_dir() and is_empty(path))


def is_empty(path: Path) -> bool:
    """Whether there is nothing in the directory `path` but what a start that was killed at once may leave."""
    return all(each.name == PARTIAL for each in path.iterdir())


def _check_is_run(path: Path) -> None:
    """UsageError unless the config.yaml in `path` is one of psgd's: other programs have files of that name, too."""
    config = path / "config.yaml"
    try:
        if not config.is_file():
            raise UsageError("it has no config.yaml")
        resolve(str(config), [])
        if missing := SECTIONS.keys() - read_file(str(config)).keys():
            raise UsageError(
                f"its config.yaml does not name every section ({', '.join(sorted(missing))}), as a run's does"
            )
    except UsageError as error:
        raise UsageError(f"{path} is not a run of psgd, so it is not overwritten: {error}") from None


def remove_run(path: Path) -> None:
    """Remove what psgd wrote in a run directory, and nothing else. config.yaml goes last: killed before that, what is
    left is a run still, which can be overwritten. OSError if that fails."""
    _remove_events(path / tensorboard.DIRECTORY)
    remove_checkpoints(path)
    for each in sorted(path.iterdir(), key=lambda each: each.name == "config.yaml"):
        if WRITTEN.fullmatch(each.name) and not each.is_dir():
            each.unlink()


def _remove_events(path: Path) -> None:
    if path.is_symlink() or not path.is_dir():
        return
    for each in path.glob(tensorboard.OURS):
        each.unlink()
    with suppress(OSError):  # it holds something else, too
        path.rmdir()


def _root(base: str) -> Path:
    """Return the path to which numbers are appended; ~ is the user's home. UsageError if it does not end in a name."""
    root = Path(os.path.expanduser(base))
    if root.name in ("", ".."):
        raise UsageError(
            f"output is {base}, which ends in no name to append a number to; set it to {root / 'run'}, say"
        )
    return root


def _numbered(root: Path) -> list[tuple[int, Path]]:
    pattern = re.compile(re.escape(root.name) + r"-(\d{3,})")
    try:
        siblings = list(root.parent.iterdir()) if root.parent.is_dir() else []
    except OSError as error:
        raise StorageError(f"{root.parent}: cannot be read: {error.strerror}") from None
    return [(int(match[1]), path) for path in siblings if (match := pattern.fullmatch(path.name))]
