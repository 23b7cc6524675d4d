"""Memory that the MPI processes of a host share: a file in memory, without a name as soon as all of them have it open,
so that nothing is left behind however they end."""

import ctypes
import mmap
import os
import tempfile
from typing import Any

from psgd.core.errors import StorageError
from psgd.core.log import LOG
from psgd.core.wording import data_size

DIRECTORY = "/dev/shm"  # the files of Linux that lie in memory; 64 MB in a default container


def share(host_peers: Any, size: int) -> memoryview:
    """Collective over the communicator of a host's processes: `size` bytes, at first 0, which they share as long as one
    uses them. They start a cache line. StorageError, on all processes, if one cannot have them."""
    if host_peers.size == 1:
        return _view(mmap.mmap(-1, max(1, size)), size)  # not in DIRECTORY, which may be too small
    first, descriptor, path, failure = host_peers.rank == 0, -1, "", ""
    try:
        if first:
            descriptor, path = tempfile.mkstemp(prefix="psgd-", dir=DIRECTORY if os.path.isdir(DIRECTORY) else None)
            _reserve(descriptor, max(1, size))
    except OSError as error:
        failure = f"{size} bytes of shared memory cannot be allocated in {path or DIRECTORY}: {error.strerror}"
    path = host_peers.bcast(path, root=0)
    try:
        if not first and path:
            descriptor = os.open(path, os.O_RDWR)
    except OSError as error:
        failure = f"{path}, the shared memory of this host, cannot be opened: {error.strerror}"
    try:
        failures = host_peers.allgather(failure)
    finally:
        if first and path:
            os.unlink(path)
    try:
        if any(failures):
            raise StorageError(next(filter(None, failures)))
        mapped = mmap.mmap(descriptor, max(1, size))
    finally:
        if descriptor >= 0:
            os.close(descriptor)
    return _view(mapped, size)


def _view(mapped: mmap.mmap, size: int) -> memoryview:
    """Through ctypes, so that arrays in it are not taken for those that are mapped from a file of data."""
    return memoryview((ctypes.c_ubyte * size).from_buffer(mapped)).cast("B")


def _reserve(descriptor: int, size: int) -> None:
    """Make a file as large; where the system can, take its memory now: else a write would raise SIGBUS without it."""
    if hasattr(os, "posix_fallocate"):
        os.posix_fallocate(descriptor, 0, size)
    else:
        os.ftruncate(descriptor, size)


def fits(size: int) -> bool:
    """Whether `size` bytes are free in /dev/shm (64 MB in a default container): writing beyond it raises SIGBUS."""
    if not os.path.isdir(DIRECTORY):
        return True
    disk = os.statvfs(DIRECTORY)
    free = disk.f_bavail * disk.f_frsize
    if size > free:
        LOG.warning(
            f"psgd: {DIRECTORY} has {data_size(free)} free and {data_size(size)} are needed to share memory; each "
            "process keeps its own copy instead, which is slower (docker run --shm-size=...)"
        )
    return size <= free
