"""Locks of run directories, so that two runs never write in one."""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from psgd.core.errors import StorageError, UsageError

_locks: dict[str, int] = {}  # descriptors of the directories that this process has locked


def _leave_to_parent() -> None:
    """A process that is forked, as by a callback, has no part in the run: it neither keeps nor ends its locks."""
    while _locks:
        os.close(_locks.popitem()[1])


os.register_at_fork(after_in_child=_leave_to_parent)


def lock(path: Path) -> None:
    """Lock the run directory until `unlock` or this process's end. UsageError if it is locked already."""
    descriptor = None
    try:
        descriptor = os.open(path, os.O_RDONLY)
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        _locks[os.path.realpath(path)] = descriptor
    except BlockingIOError:
        assert descriptor is not None
        os.close(descriptor)
        raise UsageError(f"another psgd is at work in {path}; wait for it or choose another --output") from None
    except PermissionError as error:
        raise StorageError(f"cannot use {path} as run directory: {error.strerror}") from None
    except OSError:
        return  # a file system without locks


def share_lock(path: Path) -> None:
    """Keep the run directory locked together with the other processes of the job, so that it stays so as long as one of
    them lives. Waits for the process that has locked it alone, which calls this too."""
    name = os.path.realpath(path)
    with suppress(OSError):  # a file system without locks, or another host's
        _locks[name] = _locks[name] if name in _locks else os.open(path, os.O_RDONLY)
        fcntl.flock(_locks[name], fcntl.LOCK_SH)


def unlock(path: Path) -> None:
    """Let others use a directory that this process has locked."""
    descriptor = _locks.pop(os.path.realpath(path), None)
    if descriptor is not None:
        with suppress(OSError):  # a file system without locks
            fcntl.flock(descriptor, fcntl.LOCK_UN)  # a process that a library forked may have the descriptor too
        os.close(descriptor)


@contextmanager
def unlocked_on_failure(path: Path) -> Iterator[None]:
    """Unlock a directory if the block fails."""
    try:
        yield
    except BaseException:
        unlock(path)
        raise


def is_locked(path: Path) -> bool:
    """Whether another process has locked the directory `path`; False if there is none."""
    try:
        descriptor = os.open(path, os.O_RDONLY)
    except OSError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        return False  # a file system without locks
    finally:
        os.close(descriptor)
    return False
