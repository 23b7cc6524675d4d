"""psgd as users have it: the wheel, installed by pip with its extras in a new virtual environment."""

import os
import shutil
import subprocess
import sys
import sysconfig
import tempfile
import tomllib
from collections.abc import Iterator
from importlib.metadata import Distribution, PackageNotFoundError, distribution
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from processes import ROOT, environment

# Extras that no command of the documentation needs: a GPU, another MPI, what only this checkout uses.
LEFT_OUT = {"gpu", "gpu12", "mpi-ft", "bench", "dev"}


def extras() -> list[str]:
    """The names of psgd's extras."""
    return list(tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"])


def _run(*arguments: object) -> None:
    finished = subprocess.run([*map(str, arguments)], capture_output=True, text=True, timeout=280)
    assert finished.returncode == 0, finished


def _declared(requirements: list[str]) -> list[Distribution] | None:
    """The distributions of this environment that these requirements name, with those that these require in turn.

    None if one is not here in the version that is required.
    """
    found: dict[str, Distribution] = {}
    asked, seen = [(Requirement(text), "") for text in requirements], set()
    while asked:
        requirement, extra = asked.pop()
        if requirement.marker and not requirement.marker.evaluate({"extra": extra}):
            continue
        try:
            each = found[requirement.name] = distribution(requirement.name)
        except PackageNotFoundError:
            return None
        if not requirement.specifier.contains(each.version, prereleases=True):
            return None
        for wanted in ("", *requirement.extras):
            if (requirement.name, wanted) not in seen:
                seen.add((requirement.name, wanted))
                asked += [(Requirement(text), wanted) for text in each.requires or ()]
    return list(found.values())


def _link(found: Distribution, directory: Path) -> None:
    """Link a distribution's packages and its files elsewhere into another environment; copy scripts, for its Python."""
    purelib = sysconfig.get_path("purelib")
    inside = {f"{purelib}/{file.parts[0]}" for file in found.files or () if file.parts[0] != ".."}
    outside = {os.path.normpath(f"{purelib}/{file}") for file in found.files or () if file.parts[0] == ".."}
    for path in inside | {path for path in outside if path.startswith(f"{sys.prefix}/")}:
        place = directory / os.path.relpath(path, sys.prefix)
        if not os.path.exists(path) or os.path.lexists(place):
            continue
        place.parent.mkdir(parents=True, exist_ok=True)
        if place.parent.name == "bin" and (text := Path(path).read_bytes()).startswith(b"#!"):
            place.write_bytes(text.replace(sys.prefix.encode(), bytes(directory)))
            place.chmod(0o755)
        else:
            place.symlink_to(path)


class Installed:
    """A virtual environment outside of any checkout, whose psgd comes from the wheel."""

    def __init__(self, directory: Path) -> None:
        source = directory / "source"  # a copy: building writes to it
        source.mkdir()
        for name in ("psgd", "configs", "launch"):
            shutil.copytree(ROOT / name, source / name, True, shutil.ignore_patterns("__pycache__"))
        for name in ("pyproject.toml", "README.md", "LICENSE"):
            shutil.copy(ROOT / name, source)
        _run(sys.executable, "-m", "pip", "wheel", "--no-deps", "--wheel-dir", directory, source)
        shutil.rmtree(source)
        (self.wheel,) = directory.glob("*.whl")
        self.bin = directory / "environment" / "bin"
        _run(sys.executable, "-m", "venv", "--without-pip", self.bin.parent)
        names = sorted({*extras()} - LEFT_OUT)
        project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
        declared = project["dependencies"] + [each for name in names for each in project["optional-dependencies"][name]]
        # What is declared, and nothing else, is linked from here where it is; else pip installs it, which takes longer.
        linked = _declared([*declared, "pandas"])
        for each in linked or ():
            _link(each, self.bin.parent)
        pip = (sys.executable, "-m", "pip", "--python", self.bin / "python", "install", "--no-compile")
        _run(*pip, *(["--no-deps"] if linked else ["pandas"]), f"{self.wheel}[{','.join(names)}]")

    def variables(self) -> dict[str, str]:
        """The environment variables of a command that finds this psgd, and no other."""
        known = environment()
        return {**known, "PATH": f"{self.bin}:{known['PATH']}", "PYTHONPATH": "", "VIRTUAL_ENV": str(self.bin.parent)}


@pytest.fixture(scope="module")
def installed() -> Iterator[Installed]:
    with tempfile.TemporaryDirectory(prefix="psgd-installed-") as directory:
        yield Installed(Path(directory))
