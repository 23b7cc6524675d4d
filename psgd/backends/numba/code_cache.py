"""The kernels' code in the user's cache: compiled once for this processor, by numba in a process of its own, which
gives its memory back."""

import hashlib
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from importlib.metadata import version
from pathlib import Path

import numpy as np

from psgd.core import user_cache as cache

KERNELS = Path(__file__).parent
PATIENCE = 300  # seconds for the compiler


def code(dtype: np.dtype) -> bytes:
    """What psgd.kernels writes for numbers of `dtype`. ImportError, LookupError or OSError if it cannot be had."""
    path = place(dtype)
    found = _read(path)
    if found is None:
        with _alone(path.with_suffix(".lock")):
            found = _read(path) or _compile(dtype, path)
    return found


def place(dtype: np.dtype) -> Path:
    return cache.directory() / "kernels" / f"{dtype.name}-{_key()}"


def python(program: str) -> list[str]:
    """A command that runs it with the modules that are ours: the directory where we happen to be may hold others of
    their names."""
    root, found = str(KERNELS.parents[2]), [path for path in sys.path if path]
    paths = found if root in found else [root, *found]
    return [sys.executable, "-c", f"import sys; sys.path[:] = {paths!r}; {program}"]


def _key() -> str:
    """What the code was made from, and for."""
    from llvmlite import binding

    sources = [path.read_bytes() for path in sorted(KERNELS.glob("*.py"))]
    made_by = [version("numba"), version("llvmlite"), sys.implementation.cache_tag, str(object.__basicsize__)]
    made_for = [binding.get_process_triple(), binding.get_host_cpu_name(), binding.get_host_cpu_features().flatten()]
    return hashlib.sha256(b"\0".join([*sources, *map(str.encode, [*made_by, *made_for])])).hexdigest()[:32]


def _read(path: Path) -> bytes | None:
    """None if there is none, or it is damaged: behind the code stands its checksum."""
    with suppress(FileNotFoundError):
        whole = path.read_bytes()
        if hashlib.sha256(whole[:-32]).digest() == whole[-32:]:
            return whole[:-32]
    return None


@contextmanager
def _alone(lock: Path) -> Iterator[None]:
    """Of all processes of this machine that would compile the same, as far as the system can see to it. LookupError if
    another of them has failed while this one waited: that time tells, since a full disk holds no other word."""
    lock.parent.mkdir(parents=True, exist_ok=True)
    with open(lock, "a") as file:
        came = time.time_ns()
        with suppress(ImportError, OSError):
            from fcntl import LOCK_EX, flock

            flock(file, LOCK_EX)
        if os.fstat(file.fileno()).st_mtime_ns > came:
            raise LookupError("another process has just tried in vain")
        try:
            yield
        except OSError:
            with suppress(OSError):
                os.utime(lock)
            raise


def _compile(dtype: np.dtype, path: Path) -> bytes:
    print(f"psgd: numba compiles the inner loops for this processor, once, to {path}", file=sys.stderr, flush=True)
    settings = {name: value for name, value in os.environ.items() if not name.startswith("NUMBA_")}
    with tempfile.TemporaryDirectory(prefix=f".{dtype.name}-", dir=path.parent) as scratch:
        made = Path(scratch, "code")
        command = python(f"from psgd.backends.numba.__main__ import main; main({dtype.name!r}, {str(made)!r})")
        try:
            # In a session of its own: a signal to stop is for psgd to heed.
            subprocess.run(
                command,
                env=settings,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                check=True,
                timeout=PATIENCE,
                start_new_session=True,
            )
        except subprocess.CalledProcessError as error:
            reason = os.fsdecode(error.stderr).strip().rpartition("\n")[2]
            raise OSError(f"the compiler ended with {error.returncode}: {reason}") from None
        except subprocess.TimeoutExpired:
            raise OSError(f"the compiler took more than {PATIENCE} seconds") from None
        compiled = made.read_bytes()
        made.write_bytes(compiled + hashlib.sha256(compiled).digest())
        made.replace(path)
    return compiled
