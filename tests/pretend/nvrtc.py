"""NVIDIA's run-time compiler through ctypes: it needs neither a driver nor a GPU nor CuPy."""

import ctypes
import re
import sysconfig
from pathlib import Path

from psgd.backends.cuda import programs
from psgd.backends.cuda.cupy_device import OPTIONS
from psgd.backends.cuda.device import Program

NOTHING = ctypes.POINTER(ctypes.c_char_p)()


def find() -> str | None:
    """The library of the wheel nvidia-cuda-nvrtc."""
    found = sorted(Path(sysconfig.get_paths()["purelib"]).glob("nvidia/*/lib/libnvrtc.so.1?"))
    return str(found[-1]) if found else None


def compiled(source: str, *options: str) -> tuple[str, str]:
    """Compile CUDA C, and return (PTX, or nothing for -arch=sm_NN, and the log). ValueError with the log if it is
    refused."""
    library = ctypes.CDLL(find())
    program = ctypes.c_void_p()

    def call(name: str, *arguments: object) -> None:
        if code := getattr(library, name)(*arguments):
            raise RuntimeError(f"{name}: NVRTC's error {code}")

    def text(name: str) -> bytes:
        size = ctypes.c_size_t()
        call(f"{name}Size", program, ctypes.byref(size))
        buffer = ctypes.create_string_buffer(size.value)
        call(name, program, buffer)
        return buffer.value

    call("nvrtcCreateProgram", ctypes.byref(program), source.encode(), b"kernels.cu", 0, NOTHING, NOTHING)
    try:
        given = list(dict.fromkeys([*options, "-std=c++17"]))
        code = library.nvrtcCompileProgram(
            program, len(given), (ctypes.c_char_p * len(given))(*[option.encode() for option in given])
        )
        log = text("nvrtcGetProgramLog").decode()
        if code:
            raise ValueError(log)
        real = any(option.startswith("-arch=sm_") for option in options)
        return "" if real else text("nvrtcGetPTX").decode(), log
    finally:
        library.nvrtcDestroyProgram(ctypes.byref(program))


def spills(program: Program, architecture: int) -> dict[str, int]:
    """The bytes that each kernel spills: stored and loaded, as the assembler says."""
    option = f"-arch=sm_{architecture}"
    _, log = compiled(programs.source(program), option, "--ptxas-options=-v", *OPTIONS)
    found = re.findall(r"entry function '(\w+)'.*?(\d+) bytes spill stores, (\d+) bytes spill loads", log, re.DOTALL)
    return {kernel: int(stores) + int(loads) for kernel, stores, loads in found}
