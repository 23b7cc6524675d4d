"""psgd as users have it: the wheel, installed by pip with its extras in a new virtual environment."""

import shutil
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Iterator
from itertools import chain
from pathlib import Path

import pytest
from linked import link
from processes import ROOT, environment

# Extras that no command of the documentation needs: a GPU, another MPI, what only this checkout uses.
LEFT_OUT = {"gpu", "gpu12", "mpi-ft", "bench", "dev"}


PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


def extras() -> list[str]:
    """The names of psgd's extras."""
    return list(PROJECT["optional-dependencies"])


def _run(*arguments: object) -> None:
    finished = subprocess.run([*map(str, arguments)], capture_output=True, text=True, timeout=280)
    assert finished.returncode == 0, finished


class Installed:
    """A virtual environment outside of any checkout, whose psgd comes from the wheel."""

    def __init__(self, directory: Path) -> None:
        source = directory / "source"  # a copy: building writes to it
        source.mkdir()
        for name in ("psgd", "configs", "launch"):
            shutil.copytree(ROOT / name, source / name, True, shutil.ignore_patterns("__pycache__"))
        for name in ("pyproject.toml", "README.md", "LICENSE"):
            shutil.copy(ROOT / name, source)
        self.bin = directory / "environment" / "bin"
        _run(sys.executable, "-m", "venv", "--without-pip", self.bin.parent)
        pip = (sys.executable, "-m", "pip", "--python", self.bin / "python", "install", "--no-compile")
        names = sorted({*extras()} - LEFT_OUT)
        needed = chain(PROJECT["dependencies"], *(PROJECT["optional-dependencies"][name] for name in names))
        link([*needed, "pandas"], self.bin.parent)
        _run(*pip, f"{source}[{','.join(names)}]", "pandas")  # pip builds the wheel, and installs what is missing
        shutil.rmtree(source)

    def variables(self) -> dict[str, str]:
        """The environment variables of a command that finds this psgd, and no other."""
        known = environment()
        return {**known, "PATH": f"{self.bin}:{known['PATH']}", "PYTHONPATH": "", "VIRTUAL_ENV": str(self.bin.parent)}


@pytest.fixture(scope="module")
def installed() -> Iterator[Installed]:
    with tempfile.TemporaryDirectory(prefix="psgd-installed-") as directory:
        yield Installed(Path(directory))
