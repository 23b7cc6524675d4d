"""Kernels as machine code: compiled once for this processor, kept in the user's cache, loaded without their compiler.

numba takes a second and 100 MB to compile, which a process of its own takes and gives back. What is left to load the
code is llvmlite, which numba needs too.
"""

import ctypes
import hashlib
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from psgd import native

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


@cache
def _had(dtype: np.dtype) -> Functions | Exception:
    try:
        native.check_arrays()
        path = directory() / f"{dtype.name}-{_key()}"
        code = _read(path)
        if code is None:
            with _alone(path):
                code = _read(path) or _compile(dtype, path)
        about, machine = code.split(b"\n", 1)
        return _load(json.loads(about), machine, dtype)
    except (ImportError, LookupError) as error:  # nothing to compile with, or not for this
        return error
    except (OSError, RuntimeError) as error:  # the latter from LLVM
        print(f"psgd: the inner loops cannot be compiled: {error}", file=sys.stderr, flush=True)
        return OSError(str(error))


def directory() -> Path:
    return Path(os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")) / "psgd" / "kernels"


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
def _alone(path: Path) -> Iterator[None]:
    """Of all processes of this machine that would compile for the same file, as far as the system can see to it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path.with_suffix(".lock"), "w") as lock:
        with suppress(ImportError, OSError):
            from fcntl import LOCK_EX, flock

            flock(lock, LOCK_EX)
        yield


def _compile(dtype: np.dtype, path: Path) -> bytes:
    print(f"psgd: numba compiles the inner loops for this processor, once, to {path}", file=sys.stderr, flush=True)
    where = {"PYTHONPATH": os.pathsep.join([str(KERNELS.parents[1]), *filter(None, sys.path)])}
    others = {name: value for name, value in os.environ.items() if not name.startswith("NUMBA_")}
    with tempfile.TemporaryDirectory(prefix=f".{dtype.name}-", dir=path.parent) as scratch:
        made = Path(scratch, "code")
        command = [sys.executable, "-m", "psgd.kernels", dtype.name, str(made)]
        try:
            subprocess.run(
                command, env=others | where, stdin=subprocess.DEVNULL, capture_output=True, check=True, timeout=PATIENCE
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
