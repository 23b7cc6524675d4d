"""Kernels as machine code: compiled once for this processor, kept in the user's cache, loaded without their compiler.

numba takes a second and 100 MB to compile, which a process of its own takes and gives back. What is left to load the
code is llvmlite, which numba needs too.
"""

import ctypes
import functools
import hashlib
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from psgd import cache, native

Functions = Mapping[str, Callable[..., Any]]  # the kernels by name

KERNELS = Path(__file__).with_name("kernels")
PATIENCE = 300  # seconds for the compiler


def kernels(dtype: np.dtype) -> Functions:
    """Those for numbers of `dtype`, float32 or float64. They take arrays of numpy as they are, whose types and shapes
    are theirs to trust, and let Python's other threads go on meanwhile. LookupError, ImportError or OSError if they
    cannot be had here, which is not tried again."""
    had = _had(dtype)
    if isinstance(had, Exception):
        raise had
    return had


def check(dtype: np.dtype) -> None:
    """OSError if they cannot be had here: found out by another process, in whose memory they are loaded, and compiled
    before if need be."""
    command = _python(f"from psgd import machine_code; machine_code.main({dtype.name!r})")
    child = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, start_new_session=True)
    if child.returncode:
        raise OSError(os.fsdecode(child.stdout).strip() or f"code {child.returncode}")


def main(kind: str) -> None:
    try:
        kernels(np.dtype(kind))
    except (ImportError, LookupError, OSError) as error:
        print(error)
        sys.exit(1)


@functools.cache
def _had(dtype: np.dtype) -> Functions | Exception:
    try:
        native.check_arrays()
        path = cache.directory() / "kernels" / f"{dtype.name}-{_key()}"
        code = _read(path)
        if code is None:
            with _alone(path.with_suffix(".lock")):
                code = _read(path) or _compile(dtype, path)
        about, machine = code.split(b"\n", 1)
        return _load(json.loads(about), machine, dtype)
    except (ImportError, LookupError) as error:  # nothing to compile with, or not for this
        return error
    except Exception as error:  # LLVM, too, may raise anything
        print(f"psgd: the inner loops cannot be compiled: {error or repr(error)}", file=sys.stderr, flush=True)
        return OSError(str(error) or repr(error))


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
        code = path.read_bytes()
        if hashlib.sha256(code[:-32]).digest() == code[-32:]:
            return code[:-32]
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
        command = _python(f"from psgd.kernels.__main__ import main; main({dtype.name!r}, {str(made)!r})")
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
        code = made.read_bytes()
        made.write_bytes(code + hashlib.sha256(code).digest())
        made.replace(path)
    return code


def _python(program: str) -> list[str]:
    """To run with the modules that are ours: the directory where we happen to be may hold others of their names."""
    root, found = str(KERNELS.parents[1]), [path for path in sys.path if path]
    return [
        sys.executable,
        "-c",
        f"import sys; sys.path[:] = {found if root in found else [root, *found]!r}; {program}",
    ]


_loaded: list[Any] = []  # code goes with what has loaded it


def _load(about: dict[str, dict[str, str]], machine: bytes, dtype: np.dtype) -> Functions:
    from llvmlite import binding

    number = {"f": ctypes.c_float, "d": ctypes.c_double}[dtype.char]
    kinds: dict[str, Any] = {"a": ctypes.py_object, "i": ctypes.c_int64, "r": number, "": None}
    binding.initialize_native_target()
    binding.initialize_native_asmprinter()
    target = binding.Target.from_triple(binding.get_process_triple()).create_target_machine(jit=True)
    engine = binding.create_mcjit_compiler(binding.parse_assembly(""), target)
    engine.add_object_file(binding.ObjectFileRef.from_data(machine))
    engine.finalize_object()
    _loaded.append(engine)
    functions = {}
    for name, kernel in about.items():
        prototype = ctypes.CFUNCTYPE(kinds[kernel["gives"]], *(kinds[letter] for letter in kernel["takes"]))
        functions[name] = prototype(engine.get_function_address(kernel["symbol"]))
    return functions
