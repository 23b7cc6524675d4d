"""NVIDIA's compiler takes all kernels for all GPUs, keeps their variables in registers, and contracts no operation of
those that must have the bits of numpy."""

import re

import numpy as np
import pytest
from pretend.marks import needs_nvrtc
from pretend.nvrtc import compiled, spills

from psgd.backends.cuda import programs
from psgd.backends.cuda.cupy_device import OPTIONS
from psgd.backends.cuda.device import Program

pytestmark = needs_nvrtc

ARCHITECTURES = (75, 80, 86, 89, 90, 100, 120)
# Multiplications joined with additions, and those that the assembler may still join: without a rounding (.rn).
CONTRACTED = re.compile(r"\b(?:(?:fma|mad)\.[\w.]*|(?:mul|add|sub)\.(?:ftz\.)?)f(?:32|64)")
F4, F8, U1 = np.dtype(np.float32), np.dtype(np.float64), np.dtype(np.uint8)


def all_kernels(dtype: np.dtype = F4, inputs: np.dtype = U1) -> Program:
    return programs.make_program(("exact", "network", "tree"), dtype, inputs, WORKERS=5)


@pytest.mark.parametrize(
    ("dtype", "inputs", "architecture"),
    [*((F4, U1, architecture) for architecture in ARCHITECTURES), (F4, F4, 90), (F8, U1, 90), (F8, F8, 90)],
)
def test_no_kernel_spills_registers(dtype, inputs, architecture):
    program = all_kernels(dtype, inputs)
    assert spills(program, architecture) == dict.fromkeys(program.signatures, 0)


def test_registers_that_are_spilled_are_seen():
    """A thousand numbers that are alive at the same time fit no thread's 255 registers."""
    names = [f"x{number}" for number in range(600)]
    text = "".join(f"const REAL {name} = *(volatile REAL*)(p + {i});\n" for i, name in enumerate(names))
    text += "".join(f"*(volatile REAL*)(p + {i}) = {name};\n" for i, name in reversed([*enumerate(names)]))
    common = programs.make_program((), F4, U1).text
    program = programs.parse(f"{common}\nKERNEL crowded(REAL* p) {{\n{text}}}\n", {"REAL": "float", "INPUT": "float"})
    assert spills(program, 90)["crowded"] > 0


def ptx_of(program: Program, *options: str) -> str:
    ptx, _ = compiled(programs.source(program), "-arch=compute_90", *options)
    assert all(f".entry {kernel}(" in ptx for kernel in program.signatures)
    return ptx


@pytest.mark.parametrize("dtype", [F4, F8], ids=["float32", "float64"])
@pytest.mark.parametrize("name", ["exact", "tree"])
def test_nothing_is_contracted_or_flushed_to_zero_where_bits_must_be_equal(name, dtype):
    program = programs.make_program((name,), dtype, U1, WORKERS=5)
    ptx = ptx_of(program, *OPTIONS)
    assert CONTRACTED.findall(ptx) == []
    assert ".ftz." not in ptx
    careless = ptx_of(program, "-ftz=true")  # so each would be seen
    assert CONTRACTED.findall(careless)
    assert (".ftz." in careless) == (dtype == F4)
