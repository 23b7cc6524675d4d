"""Memory that the MPI processes of a host share. It has no name in a file system once all of them have it open, so that
nothing is left behind however they end."""

import ctypes
import mmap
import os
import tempfile
from typing import Any

from psgd.core.errors import StorageError
from psgd.core.wording import data_size

NAMELESS = hasattr(os, "memfd_create")  # Linux


def share(peers: Any, size: int) -> memoryview:
    """Collective over a communicator of processes of one host: `size` bytes, initially 0 and aligned to a cache line,
    which live as long as one of them uses them. StorageError, on all processes, if one cannot have them."""
    if peers.size == 1:
        return _view(mmap.mmap(-1, max(1, size)), size)
    first, descriptor, path, identity, failure = peers.rank == 0, -1, "", (0, 0), ""
    try:
        try:
            if first:
                descriptor, path = _create()
                _reserve(descriptor, max(1, size))
                identity = _identity(descriptor)
        except OSError as error:
            failure = f"this host has no {data_size(size)} for memory that its processes share: {error.strerror}"
        path, identity = peers.bcast((path, identity), root=0)
        try:
            if path and not first:
                descriptor = os.open(path, os.O_RDWR)
                if _identity(descriptor) != identity:
                    failure = f"{path} is not the memory that another process of this host shares"
        except OSError as error:
            failure = f"{path}, memory that another process of this host shares, cannot be opened: {error.strerror}"
        failures = peers.allgather(failure)
        if any(failures):
            raise StorageError(next(filter(None, failures)))
        return _view(mmap.mmap(descriptor, max(1, size)), size)
    finally:
        if descriptor >= 0:
            os.close(descriptor)
        if first and path and not NAMELESS:
            os.unlink(path)


def _create() -> tuple[int, str]:
    """A descriptor of new memory, and a path at which other processes of this user can open it: on Linux, memory that
    never has a name (memfd) and is not bound by the size of /dev/shm (64 MB in a container); elsewhere, a file."""
    if not NAMELESS:
        return tempfile.mkstemp(prefix="psgd-")
    descriptor = os.memfd_create("psgd")
    return descriptor, f"/proc/{os.getpid()}/fd/{descriptor}"


def _identity(descriptor: int) -> tuple[int, int]:
    """Device and inode of an open file. A path of /proc does not identify it: processes in two containers may have the
    same number, and other files under the same descriptor."""
    about = os.fstat(descriptor)
    return about.st_dev, about.st_ino


def _view(mapped: mmap.mmap, size: int) -> memoryview:
    """Through ctypes, so that arrays in it are not taken for those that are mapped from a file of data."""
    return memoryview((ctypes.c_ubyte * size).from_buffer(mapped)).cast("B")


def _reserve(descriptor: int, size: int) -> None:
    """Give it this size; where the system can, take its memory now: else a write would raise SIGBUS without it."""
    if hasattr(os, "posix_fallocate"):
        os.posix_fallocate(descriptor, 0, size)
    else:
        os.ftruncate(descriptor, size)
