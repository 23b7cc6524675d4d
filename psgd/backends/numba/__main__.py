"""Compile the kernels for one type of numbers: python -m psgd.kernels float32 FILE

FILE: a line of JSON, which says of each kernel its symbol and its arguments, then an object file for this processor.
Written by numba in the words of LLVM, the kernels are put together here, so that nothing of numba has to be there when
they run: not even what it does about errors, since none can happen.
"""

import json
import sys
from typing import Any

import numpy as np
from llvmlite import binding
from numba import cfunc, types

from psgd.backends.numba import gathering, permuting, rules
from psgd.backends.numba import kernel_passes as passes
from psgd.backends.numba.kernel import Kernel

KNOWN = ("llvm.", "mem", "sqrt")  # what may be left to the C library: memcpy and its kin, and roots


def main(kind: str, path: str) -> int:
    number = {"float32": np.float32, "float64": np.float64}[kind]
    whole = binding.parse_assembly("")
    whole.triple = binding.get_process_triple()
    functions = {}
    for kernel in [kernel for part in (passes, gathering, permuting, rules) for kernel in part.kernels(number)]:
        compiled = cfunc(_signature(kernel, number), error_model="numpy")(kernel.function)
        functions[kernel.name] = {"symbol": compiled.native_name, "takes": kernel.takes, "gives": kernel.gives}
        whole.link_in(binding.parse_assembly(compiled.inspect_llvm()))
    machine = binding.Target.from_triple(whole.triple).create_target_machine(
        cpu=binding.get_host_cpu_name(),
        features=binding.get_host_cpu_features().flatten(),
        opt=3,
        reloc="pic",
        codemodel="jitdefault",
        jit=True,
    )
    _simplify(whole, {about["symbol"] for about in functions.values()}, machine)
    with open(path, "wb") as file:
        file.write(json.dumps(functions).encode() + b"\n" + machine.emit_object(whole))
    return 0


def _signature(kernel: Kernel, number: Any) -> Any:
    kinds = {"a": types.intp, "i": types.int64, "r": types.float32 if number is np.float32 else types.float64}
    return kinds.get(kernel.gives, types.void)(*(kinds[letter] for letter in kernel.takes))


def _simplify(whole: Any, asked: set[str], machine: Any) -> None:
    """What nobody asks for is inlined, or left out."""
    for function in whole.functions:
        if not function.is_declaration and function.name not in asked:
            function.linkage = "internal"
    builder = binding.create_pass_builder(machine, binding.create_pipeline_tuning_options(speed_level=3))
    builder.getModulePassManager().run(whole, builder)
    unknown = [f.name for f in whole.functions if f.is_declaration and not f.name.startswith(KNOWN)]
    assert not unknown, f"the kernels call {unknown}"


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
