"""GPUs: the driver, and CuPy against it."""

import ctypes
from importlib import metadata
from typing import Any

from psgd.doctor import program
from psgd.doctor.finding import Finding, note, ok, wrong

_CUPY = {"cupy-cuda13x": 13, "cupy-cuda12x": 12, "cupy-cuda11x": 11}  # packages, and the CUDA that each is built for
_SMI_SECONDS = 20.0


def check() -> list[Finding]:
    from psgd.config.settings import Settings

    can_train = "cuda" in str(Settings.model_fields["device"].annotation)
    return judge(driver(), names(), _installed(), can_train)


def judge(driver: tuple[int, int] | None, names: list[str], cupy: dict[str, str], can_train: bool) -> list[Finding]:
    """`driver`: the newest CUDA that the driver runs, as (major, minor), None without a driver; `names`: of the GPUs;
    `cupy`: the installed packages of CuPy with their versions; `can_train`: whether psgd can train on GPUs."""
    details: dict[str, Any] = {"cuda": driver, "gpus": names, "cupy": cupy}
    if driver is None and not names:
        return [ok("gpu", "no GPU: psgd trains on the CPU", **details)]
    text = f"{', '.join(names) or 'no GPU that can be used'}; the driver runs CUDA up to {_dotted(driver)}"
    findings = []
    if len(cupy) > 1:
        both = f"{' and '.join(cupy)} are both installed, and overwrite each other"
        findings.append(
            wrong("gpu", both, f"pip uninstall {' '.join(cupy)}, then pip install 'psgd[{_extra(driver)}]'")
        )
    for package, version in cupy.items():
        if driver and _CUPY.get(package, 0) > driver[0]:
            old = f"{package} {version} needs a driver for CUDA {_CUPY[package]}"
            findings.append(wrong("gpu", old, f"update the driver, or install 'psgd[{_extra(driver)}]' instead"))
    if driver is None:
        text = f"nvidia-smi shows {', '.join(names)}, but libcuda cannot be used: CuPy sees no GPU"
        findings.append(wrong("gpu", text, "install the driver's libcuda, or run the container with --gpus all"))
    elif can_train and not cupy:
        findings.append(note("gpu", f"{text}; no CuPy", f"pip install 'psgd[{_extra(driver)}]'", **details))
    elif can_train:
        findings.append(ok("gpu", text, **details))
    else:
        findings.append(note("gpu", f"{text}; this psgd trains on the CPU only", **details))
    return findings


def driver() -> tuple[int, int] | None:
    """The newest CUDA that the driver runs; None if there is no driver, or no GPU that it can use."""
    try:
        library = ctypes.CDLL("libcuda.so.1")
    except OSError:
        return None
    version, count = ctypes.c_int(), ctypes.c_int()
    if library.cuInit(0) or library.cuDriverGetVersion(ctypes.byref(version)):
        return None
    if library.cuDeviceGetCount(ctypes.byref(count)) or not count.value:
        return None
    return version.value // 1000, version.value % 1000 // 10


def names() -> list[str]:
    """The GPUs that nvidia-smi lists: name, version of the driver, memory."""
    query = ["nvidia-smi", "--query-gpu=name,driver_version,memory.total", "--format=csv,noheader"]
    try:
        answer = program.run(query, _SMI_SECONDS)
    except OSError:
        return []
    return [line.strip() for line in answer.output.splitlines() if line.strip()] if answer.code == 0 else []


def _installed() -> dict[str, str]:
    found = {}
    for each in metadata.distributions():
        name = (each.metadata["Name"] or "").lower()
        if name == "cupy" or name in _CUPY:
            found[name] = each.version
    return found


def _extra(driver: tuple[int, int] | None) -> str:
    return "gpu12" if driver and driver[0] < 13 else "gpu"


def _dotted(driver: tuple[int, int] | None) -> str:
    return "?" if driver is None else ".".join(map(str, driver))
