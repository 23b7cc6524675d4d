"""GPUs: the driver, and CuPy against it."""

from importlib import metadata
from typing import Any

from psgd.backends.cuda import driver
from psgd.doctor import program
from psgd.doctor.finding import Finding, note, ok, wrong

_CUPY = {"cupy-cuda13x": 13, "cupy-cuda12x": 12, "cupy-cuda11x": 11}  # packages, and the CUDA that each is built for
_SMI_SECONDS = 20.0


def check() -> list[Finding]:
    return judge(driver.driver(), names(), _installed())


def judge(cuda: tuple[int, int] | None, names: list[str], cupy: dict[str, str]) -> list[Finding]:
    """`cuda`: the newest that the driver runs, as (major, minor), None without a driver; `names`: of the GPUs; `cupy`:
    the installed packages of CuPy with their versions."""
    details: dict[str, Any] = {"cuda": cuda, "gpus": names, "cupy": cupy}
    if cuda is None and not names:
        return [ok("gpu", "no GPU: psgd trains on the CPU here", **details)]
    text = f"{', '.join(names) or 'no GPU that can be used'}; the driver runs CUDA up to {_dotted(cuda)}"
    findings = []
    if len(cupy) > 1:
        both = f"{' and '.join(cupy)} are both installed, and overwrite each other"
        findings.append(wrong("gpu", both, f"pip uninstall {' '.join(cupy)}, then pip install 'psgd[{_extra(cuda)}]'"))
    for package, version in cupy.items():
        if cuda and _CUPY.get(package, 0) > cuda[0]:
            old = f"{package} {version} needs a driver for CUDA {_CUPY[package]}"
            findings.append(wrong("gpu", old, f"update the driver, or install 'psgd[{_extra(cuda)}]' instead"))
    if cuda is None:
        text = f"nvidia-smi shows {', '.join(names)}, but libcuda cannot be used: CuPy sees no GPU"
        findings.append(wrong("gpu", text, "install the driver's libcuda, or run the container with --gpus all"))
    elif not cupy:
        findings.append(note("gpu", f"{text}; no CuPy", f"pip install 'psgd[{_extra(cuda)}]'", **details))
    else:
        findings.append(ok("gpu", text, **details))
    return findings


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


def _extra(cuda: tuple[int, int] | None) -> str:
    return "gpu12" if cuda and cuda[0] < 13 else "gpu"


def _dotted(cuda: tuple[int, int] | None) -> str:
    return "?" if cuda is None else ".".join(map(str, cuda))
