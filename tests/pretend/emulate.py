"""Runs psgd's kernels on the CPU: compiles the text of a program by g++ with cuda_on_cpu.h, and calls its kernels."""

import ctypes
import hashlib
import os
import re
import shutil
import subprocess
import tempfile
import threading
from collections.abc import Sequence
from functools import cache
from pathlib import Path

import numpy as np

from psgd.backends.cuda import programs
from psgd.backends.cuda.device import DeviceArray, Program

HERE = Path(__file__).resolve().parent
COMPILER = shutil.which("g++")

_TOGETHER = re.compile(r"\b(__sync\w+|__shfl\w+|__ballot\w+|cluster_\w+|SHARED)\b")  # threads meet here
_FUNCTION = re.compile(r"^[^\n#{};]*?\b(\w+)\([^;{}]*\)\s*\{", re.MULTILINE)
_CLUSTER = re.compile(r"__cluster_dims__\(([^,()]+)")
_ADDRESS_SANITIZER = ("-g", "-fsanitize=address", "-fno-omit-frame-pointer")


class Emulated:
    """The compiled kernels of a program. Holds the GIL while one runs: the fibers are global."""

    def __init__(self, program: Program, sanitize: bool = False) -> None:
        """`sanitize`: for a process that was started with libasan preloaded."""
        self._program = program
        self._library = ctypes.PyDLL(str(build(translated(program), sanitize)))

    def launch(
        self,
        kernel: str,
        grid: Sequence[int],
        block: Sequence[int],
        arguments: Sequence[DeviceArray | np.generic],
        shared: int = 0,
        order: int = 0,
    ) -> None:
        """`arguments` as programs.bind gives them. `order`: in which order threads run: 0, 1 reversed, else drawn."""
        function = getattr(self._library, f"cpu_{kernel}")
        function.restype = ctypes.c_char_p
        cells = [np.array([x.pointer if isinstance(x, DeviceArray) else x]) for x in arguments]
        places = (ctypes.c_void_p * max(1, len(cells)))(*(cell.ctypes.data for cell in cells))
        shape = (ctypes.c_uint * 8)(*filled(grid), *filled(block), shared, order)
        if wrong := function(shape, places):
            raise RuntimeError(wrong.decode())


@cache
def emulated(program: Program) -> Emulated:
    return Emulated(program)


def filled(shape: Sequence[int]) -> tuple[int, ...]:
    return (*shape, 1, 1, 1)[:3]


def translated(program: Program) -> str:
    """The program in C++, with a function to call for every kernel."""
    text = programs.source(program)
    if static := re.search(r"__shared__[^\n]*", re.sub(r"#ifndef CUDA_ON_CPU.*?#endif", "", text, flags=re.DOTALL)):
        raise ValueError(f"shared memory is only had by SHARED(type, name), not by: {static[0]}")
    together = threads_meet(text)
    lines = ["#define CUDA_ON_CPU", '#include "cuda_on_cpu.h"']
    lines += [f"#define {name} kernel_{name}" for name in program.signatures]  # the C library may have one of that name
    lines += ['#line 1 "program.cu"', text]
    for name in program.signatures:
        heads = re.findall(rf"^KERNEL ([^\n]*)\b{name}\(", text, re.MULTILINE)
        cluster = next((found[1] for head in heads if (found := _CLUSTER.search(head))), "1")
        lines.append(f"#undef {name}")
        lines.append(f"CPU_EXPORT({name}, {str(name in together).lower()}, ({cluster}))")
    return "\n".join(lines) + "\n"


def threads_meet(text: str) -> set[str]:
    """The functions in which, or in what they call, threads wait for others or share memory."""
    text = re.sub(r"//[^\n]*|/\*.*?\*/|__\w+__\([^()]*\)", "", text, flags=re.DOTALL)  # no comments, no attributes
    bodies: dict[str, str] = {}
    for found in re.finditer(r"^\s*#define (\w+)((?:[^\n]*\\\n)*[^\n]*)", text, re.MULTILINE):
        bodies[found[1]] = bodies.get(found[1], "") + found[2]
    for found in _FUNCTION.finditer(text):
        bodies[found[1]] = bodies.get(found[1], "") + text[found.end() : _end(text, found.end())]
    calls = {name: set(re.findall(r"\w+", body)) & bodies.keys() for name, body in bodies.items()}
    meet = {name for name, body in bodies.items() if _TOGETHER.search(body)}
    while more := {name for name in bodies.keys() - meet if calls[name] & meet}:
        meet |= more
    return meet


def _end(text: str, place: int) -> int:
    """Where the brace that opened just before `place` closes."""
    depth = 1
    while depth and place < len(text):
        depth += {"{": 1, "}": -1}.get(text[place], 0)
        place += 1
    return place


def build(text: str, sanitize: bool = False, options: Sequence[str] = ("-O1",)) -> Path:
    """The shared library of this C++ text: compiled once, and kept in the directory for temporary files."""
    options = (*options, *(_ADDRESS_SANITIZER if sanitize else ()))
    command = [str(COMPILER), "-std=c++20", "-shared", "-fPIC", "-fvisibility=hidden", "-ffp-contract=off", *options]
    command += ["-Wl,-Bsymbolic", "-Wno-unknown-pragmas", "-I", str(HERE), "-x", "c++", "-"]
    header = (HERE / "cuda_on_cpu.h").read_text()
    key = hashlib.sha256("\0".join([text, header, *command]).encode()).hexdigest()[:24]
    folder = Path(tempfile.gettempdir()) / f"psgd-emulated-{os.getuid()}"
    folder.mkdir(exist_ok=True)
    library = folder / f"{key}.so"
    if not library.exists():
        unfinished = folder / f"{key}-{os.getpid()}-{threading.get_ident()}.so"
        done = subprocess.run(
            [*command, "-o", str(unfinished)], input=text, text=True, capture_output=True, timeout=120
        )
        if done.returncode:
            raise ValueError(f"g++ refuses the program:\n{done.stderr[:4000]}")
        unfinished.replace(library)  # by another process at the same time perhaps, with the same contents
    return library
