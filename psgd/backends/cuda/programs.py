"""Programs of kernels: their text, their signatures, and arguments of exactly the types that a kernel takes."""

import operator
import re
from collections.abc import Mapping, Sequence
from functools import cache
from importlib import resources
from typing import Any

import numpy as np

from psgd.backends.cuda.device import DeviceArray, Program

# Matches the declaration of a kernel, which is one line: KERNEL, attributes, name, parameters.
_KERNEL = re.compile(r"^KERNEL ((?:__\w+__(?:\([^()]*\))? )*)(\w+)\(([^()]*)\)", re.MULTILINE)
_NUMBERS: dict[str, type[np.generic]] = {
    "int": np.int32,
    "long": np.int64,
    "float": np.float32,
    "double": np.float64,
    "unsigned char": np.uint8,
}
_NULL = np.uintp(0)


@cache
def _text(name: str) -> str:
    return (resources.files("psgd.backends.cuda") / "kernels" / f"{name}.cu").read_text(encoding="utf-8")


def make_program(names: Sequence[str], dtype: np.dtype, inputs: np.dtype, **defines: int | str) -> Program:
    """The kernels of kernels/NAME.cu, one file after the other behind common.cu. `dtype`: of all vectors (REAL);
    `inputs`: of the examples as stored (INPUT); `defines`: further names that the text is compiled with."""
    text = "\n".join(f'#line 1 "{name}.cu"\n{_text(name)}' for name in ("common", *names))
    return parse(text, {"REAL": _c_type(dtype), "INPUT": _c_type(inputs), **defines})


def parse(text: str, defines: Mapping[str, int | str]) -> Program:
    """A program of this text, with the signatures of its kernels in types of C: REAL and INPUT are replaced."""
    signatures = {
        name: tuple(_parameter_type(each, defines) for each in parameters.split(",")) if parameters.strip() else ()
        for _, name, parameters in _KERNEL.findall(text)
    }
    return Program(text, tuple(f"{name}={value}" for name, value in defines.items()), signatures)


def source(program: Program) -> str:
    """The whole text to compile: what it is compiled with stands in its first lines."""
    defines = (each.split("=", 1) for each in program.defines)
    return "".join(f"#define {name} {value}\n" for name, value in defines) + program.text


def bind(program: Program, kernel: str, arguments: Sequence[Any]) -> list[DeviceArray | np.generic]:
    """The arguments as the kernel takes them: numbers as scalars of its types, arrays checked against them, None as
    the null pointer. Python's own numbers would go to a kernel as 8 bytes each, whatever it takes.

    Raises TypeError for an array of the host, an array of another dtype, a fraction where an integer is taken, or
    another number of arguments; OverflowError for a number that does not fit."""
    types = program.signatures.get(kernel)
    if types is None:
        raise TypeError(f"the program has no kernel {kernel}, only {', '.join(program.signatures)}")
    if len(types) != len(arguments):
        raise TypeError(f"{kernel} takes {len(types)} arguments, not {len(arguments)}")
    return [_bound(kernel, place, types[place], given) for place, given in enumerate(arguments)]


def _bound(kernel: str, place: int, wanted: str, given: Any) -> DeviceArray | np.generic:
    if wanted.endswith("*"):
        if given is None:
            return _NULL
        if isinstance(given, DeviceArray) and given.dtype == _pointed(wanted):
            return given
        raise TypeError(_refusal(kernel, place, wanted, given))
    number = _NUMBERS[wanted]
    if issubclass(number, np.floating):
        if isinstance(given, int | float | np.integer | np.floating):
            return number(given)
        raise TypeError(_refusal(kernel, place, wanted, given))
    try:
        return number(operator.index(given))
    except (TypeError, OverflowError) as error:
        raise type(error)(_refusal(kernel, place, wanted, given)) from None


@cache
def _pointed(pointer: str) -> np.dtype:
    """The dtype of an array that such a pointer can point to. Pointers to pointers: tables of addresses, uintp."""
    if pointer.count("*") > 1:
        return np.dtype(np.uintp)
    return np.dtype(_NUMBERS[pointer.removeprefix("const ").removesuffix("*")])


def _refusal(kernel: str, place: int, wanted: str, given: Any) -> str:
    """What is said of an argument that is refused: only then, since the names of dtypes take longer than a launch."""
    return f"argument {place} of {kernel} is {wanted}, not {_described(given)}"


def _described(given: Any) -> str:
    if isinstance(given, DeviceArray | np.ndarray):
        return f"a {type(given).__name__} of {given.dtype}"
    return f"the {type(given).__name__} {given!r:.40}"


def _c_type(dtype: np.dtype) -> str:
    for name, number in _NUMBERS.items():
        if np.dtype(number) == dtype:
            return name
    raise TypeError(f"kernels know no {dtype}")


def _parameter_type(parameter: str, defines: Mapping[str, int | str]) -> str:
    """`const REAL* const* leaves` -> `const float* const*`."""
    kind = re.sub(r"\w+\s*$", "", parameter.replace("__restrict__", " "))
    kind = re.sub(r"\b(REAL|INPUT)\b", lambda word: str(defines.get(word[0], word[0])), kind)
    kind = re.sub(r"\s*\*", "*", " ".join(kind.split()))
    base = kind.replace("const", "").replace("*", "").strip()
    if base not in _NUMBERS:
        raise TypeError(f"a kernel's parameter is of an unknown type: {parameter.strip()}")
    return kind
