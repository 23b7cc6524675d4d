"""Kernels as functions: their code is loaded by llvmlite, which numba brings, without the memory of numba itself."""

import ctypes
import functools
import json
import os
import subprocess
import sys
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from psgd.backends.numba import code_cache, native

Functions = Mapping[str, Callable[..., Any]]  # the kernels by name


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
    command = code_cache.python(f"from psgd import machine_code; machine_code.main({dtype.name!r})")
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
        about, machine = code_cache.code(dtype).split(b"\n", 1)
        return _load(json.loads(about), machine, dtype)
    except (ImportError, LookupError) as error:  # nothing to compile with, or not for this
        return error
    except Exception as error:  # LLVM, too, may raise anything
        print(f"psgd: the inner loops cannot be compiled: {error or repr(error)}", file=sys.stderr, flush=True)
        return OSError(str(error) or repr(error))


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
