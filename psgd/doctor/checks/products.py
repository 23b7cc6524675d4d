"""The BLAS that computes numpy's products: its kernel, its threads, and variables that hold it back."""

import os
from collections.abc import Iterable

from psgd.backends.blas import VARIABLES, describe_blas, kernel_warning
from psgd.doctor.finding import Finding, note, ok

_ALSO_LIMITING = ("OPENBLAS_L2_SIZE", "MKL_ENABLE_INSTRUCTIONS", "MKL_DEBUG_CPU_TYPE", "MKL_CBWR")


def check() -> list[Finding]:
    import numpy  # loads its BLAS, which reads the environment now

    about = describe_blas() | {"numpy": numpy.__version__}
    if about["name"] == "unknown":
        text = "numpy's BLAS is one whose threads cannot be set: bits may differ from run to run"
        return [note("blas", text, "install numpy from PyPI or conda-forge")]
    threads = "1 thread" if about["threads"] == 1 else f"{about['threads']} threads, of which a worker uses 1"
    kernel = f", {about['kernel']} kernel" if about["kernel"] else ""
    return [ok("blas", f"{about['name']} {about['version']}{kernel}, {threads}", **about), *judge_environment()]


def judge_environment() -> list[Finding]:
    """What the environment does to the BLAS."""
    findings = []
    if slow := kernel_warning():
        text, _, advice = slow.partition(". ")
        findings.append(note("blas", text, advice[:1].lower() + advice[1:]))
    elif kernel := os.environ.get("OPENBLAS_CORETYPE"):
        findings.append(note("blas", f"OPENBLAS_CORETYPE={kernel} fixes OpenBLAS's kernel, and so the bits"))
    if more := _set(v for v in VARIABLES if os.environ.get(v, "1") != "1"):
        findings.append(note("blas", f"{more}: psgd uses one thread a worker all the same", "use more workers instead"))
    if others := _set(v for v in _ALSO_LIMITING if v in os.environ):
        findings.append(note("blas", f"{others} changes how products are computed", "unset it, unless you mean it"))
    return findings


def _set(names: Iterable[str]) -> str:
    return ", ".join(f"{name}={os.environ[name]}" for name in names)
