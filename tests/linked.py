"""Makes packages of this environment those of another one, by links to their files: pip takes many times as long."""

import os
import shutil
from collections.abc import Iterable, Iterator
from importlib.metadata import Distribution, PackageNotFoundError, distribution
from pathlib import Path

from packaging.requirements import Requirement


def link(requirements: Iterable[str], environment: Path) -> None:
    """Link what is installed here of `requirements` and of what these require, and nothing else. What is missing here,
    or of another version than is required, is left to pip. Commands written in Python are not linked: they name the
    interpreter of this environment."""
    here = Path(distribution("pip").locate_file("")).resolve()
    there = environment / here.relative_to(here.parents[2])  # lib/python3.11/site-packages
    for package in {found.name: found for found in _needed(requirements)}.values():
        for name in {_top(path.parts) for path in package.files or ()}:
            _link(Path(os.path.normpath(here / name)), Path(os.path.normpath(there / name)))


def _needed(requirements: Iterable[str]) -> Iterator[Distribution]:
    """The distributions that are installed here of `requirements` and of all that these require."""
    waiting, seen = [Requirement(line) for line in requirements], set[str]()
    while waiting:
        wanted = waiting.pop()
        if str(wanted) in seen:
            continue
        seen.add(str(wanted))
        try:
            found = distribution(wanted.name)
        except PackageNotFoundError:
            continue
        if found.version in wanted.specifier:
            yield found
            waiting += [needed for line in found.requires or () if (needed := _applies(line, wanted.extras))]


def _applies(line: str, extras: set[str]) -> Requirement | None:
    """A requirement without its marker, unless that excludes it here."""
    requirement = Requirement(line)
    marker, requirement.marker = requirement.marker, None
    applies = marker is None or any(marker.evaluate({"extra": extra}) for extra in ("", *extras))
    return requirement if applies else None


def _top(parts: tuple[str, ...]) -> str:
    """The folder in site-packages that has a file, or the file itself outside of folders and of site-packages."""
    return os.path.join(*parts) if parts[0] == ".." else parts[0]


def _link(source: Path, target: Path) -> None:
    if source.is_dir():
        shutil.copytree(source, target, copy_function=_copy, dirs_exist_ok=True)
    elif source.exists() and not _names_an_interpreter(source):
        target.parent.mkdir(parents=True, exist_ok=True)
        _copy(source, target)


def _copy(source: str | Path, target: str | Path) -> None:
    """A link; on another file system, a copy."""
    if os.path.exists(target):  # of two packages that share a folder
        return
    try:
        os.link(source, target)
    except OSError:
        shutil.copy2(source, target)


def _names_an_interpreter(path: Path) -> bool:
    with path.open("rb") as file:
        first = file.readline(200)
    return first.startswith(b"#!") and b"python" in first
