"""Where psgd and its libraries write files: how much is there, and how to remove it."""

import os
import shutil
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import psgd
from psgd.core import user_cache
from psgd.core.wording import data_size
from psgd.doctor.checks.compiler import cache_places
from psgd.doctor.finding import Finding, note, ok, wrong

_WALK_SECONDS = 4.0  # for the sizes of all places together
_ROOM = 1e9  # bytes


class FileLocation(NamedTuple):
    """A place where files are: what they are, and their paths."""

    about: str
    paths: Sequence[Path]
    remove: str  # the command, or when it may be used


def check() -> list[Finding]:
    deadline = time.monotonic() + _WALK_SECONDS
    found = [judge_directory(Path.cwd())]
    return found + [judge_location(place, deadline) for place in locations() if place.paths]


def judge_directory(directory: Path) -> Finding:
    """The current directory, below which `output: runs/NAME` makes run directories."""
    free = shutil.disk_usage(directory).free
    if not os.access(directory, os.W_OK | os.X_OK):
        return wrong(
            "files", f"{directory} cannot be written to: runs/ is made here", "change directory, or use --output"
        )
    if free < _ROOM:
        return note(
            "files", f"{data_size(free)} are free in {directory}", "a run stops when its checkpoint finds no room"
        )
    return ok("files", f"runs/ is made in {directory}, which has {data_size(free)} free")


def judge_location(place: FileLocation, deadline: float) -> Finding:
    """`deadline`: by time.monotonic, after which files are no longer counted."""
    total, complete = 0, True
    for path in place.paths:
        for file in _files_below(path):
            total += file
            if complete := time.monotonic() < deadline:
                continue
            break
    named = ", ".join(map(str, place.paths[:3])) + (" ..." if len(place.paths) > 3 else "")
    amount = data_size(total) if complete else f"more than {data_size(total)}"
    text = f"{place.about}: {named}, {amount}; to remove: {place.remove}"
    return ok("files", text, paths=[str(path) for path in place.paths], bytes=total, complete=complete)


def locations() -> Iterator[FileLocation]:
    """The places that there are."""
    runs = Path("runs").absolute()
    yield FileLocation("your runs", [runs] if runs.is_dir() else [], f"rm -r {runs}")
    try:
        cache = user_cache.directory()
        yield FileLocation("downloads", [cache] if cache.is_dir() else [], f"rm -r {cache}")
    except OSError:
        pass  # no home directory: nothing can be there
    for place in cache_places():
        beside = place.name == "__pycache__"
        compiled = sorted(place.glob("*.nb[ic]" if beside else "numba_*/*.nb[ic]"))
        directories = sorted({file.parent for file in compiled})
        removal = f"rm {place}/*.nb[ic]" if beside else " ".join(["rm -r", *map(str, directories)])
        yield FileLocation("numba's compiled code", directories, removal)
    checkout = Path(psgd.__file__).parents[1]
    if (checkout / "scripts" / "environment.sh").is_file():
        made = sorted(checkout.glob(".venv*"))
        yield FileLocation("environments of scripts/train and test", made, f"rm -r {checkout}/.venv*")
    ray = Path(os.environ.get("RAY_TMPDIR") or os.environ.get("TMPDIR") or "/tmp", "ray")
    own = ray.is_dir() and ray.stat().st_uid == os.getuid()
    yield FileLocation("Ray's logs", [ray] if own else [], f"rm -r {ray}, while no Ray runs")


def _files_below(path: Path) -> Iterator[int]:
    """The bytes of each file in a directory and below it, or of a file."""
    if path.is_file():
        yield path.lstat().st_size
    for directory, _, names in os.walk(path):
        for name in names:
            try:
                yield os.lstat(os.path.join(directory, name)).st_size
            except OSError:
                continue  # removed meanwhile
